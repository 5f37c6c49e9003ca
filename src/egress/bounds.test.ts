import assert from "node:assert/strict";
import { test } from "node:test";
import { Bounds } from "./bounds.ts";
import { Refusal } from "./visit.ts";

test("connections at a time", () => {
  const bounds = new Bounds({ connections: 2 });
  const leave = bounds.enter();
  bounds.enter();
  assert.throws(() => bounds.enter(), /2 connections at a time/);
  leave();
  leave();
  bounds.enter();
  assert.throws(() => bounds.enter(), Refusal);
});

test("connections ever, those among them that never get a place", () => {
  const bounds = new Bounds({ connectionsEver: 2 });
  bounds.arrive();
  bounds.arrive();
  assert.equal(bounds.isSpent, false);
  bounds.enter();
  bounds.arrive();
  assert.equal(bounds.isSpent, true);
  assert.throws(() => bounds.enter(), /more than 2 connections$/);
});

test("requests over all connections", () => {
  const bounds = new Bounds({ requestsEver: 2 });
  bounds.request();
  bounds.request();
  assert.throws(() => bounds.request(), /more than 2 requests$/);
});

test("bytes each way, over all connections", () => {
  const bounds = new Bounds({ bytesSent: 10, bytesReceived: 20 });
  bounds.send(10);
  assert.throws(() => bounds.send(1), /10 bytes sent/);
  bounds.receive(20);
  assert.throws(() => bounds.receive(1), /20 bytes received/);
});

test("bytes that are held, until they are let go", () => {
  const bounds = new Bounds({ heldBytes: 10 });
  bounds.hold(6);
  assert.throws(() => bounds.hold(5), /10 bytes of bodies/);
  bounds.hold(4);
  bounds.letGo(6);
  bounds.hold(6);
});

test("names asked for", () => {
  const bounds = new Bounds({ questionsEver: 2 });
  bounds.ask();
  bounds.ask();
  assert.throws(() => bounds.ask(), /more than 2 names were asked for/);
});
