import { Refusal } from "./visit.ts";

/** Bounds on the network of one sandbox. Each that is met is a recorded denial. */
export interface BoundsMax {
  /** Connections at a time. */
  readonly connections: number;
  /** In a sandbox's whole life, those that are refused too. */
  readonly connectionsEver: number;
  /** Over all opened connections, in a sandbox's whole life. */
  readonly requestsEver: number;
  /** Names asked for, in a sandbox's whole life. */
  readonly questionsEver: number;
  /** Over all connections: from the tool, and to it. */
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /** Of bodies that have to be whole before they are sent, at a time. */
  readonly heldBytes: number;
  /** Of a connection on which nothing moves either way. */
  readonly idleMs: number;
  /** Until the tool has said what it wants: a ClientHello, or a request's head. */
  readonly openingMs: number;
  /** Until the outside has answered a connect. */
  readonly connectMs: number;
}

const GIB = 1024 ** 3;

export const BOUNDS: BoundsMax = {
  connections: 128,
  connectionsEver: 16_384,
  requestsEver: 65_536,
  questionsEver: 65_536,
  bytesSent: 4 * GIB,
  bytesReceived: 16 * GIB,
  heldBytes: GIB / 16,
  idleMs: 300_000,
  openingMs: 10_000,
  connectMs: 10_000,
};

/** Counts what the connections of one sandbox use together. */
export class Bounds {
  readonly max: BoundsMax;
  #open = 0;
  #ever = 0;
  #requests = 0;
  #sent = 0;
  #received = 0;
  #held = 0;
  #asked = 0;

  constructor(max: Partial<BoundsMax> = {}) {
    this.max = { ...BOUNDS, ...max };
  }

  /** No connection is taken any more: what comes costs no more than the kernel's refusal. */
  get isSpent(): boolean {
    return this.#ever > this.max.connectionsEver;
  }

  /** @throws Refusal once there are too many; from then on nothing is answered. */
  ask(): void {
    this.#asked += 1;
    if (this.#asked > this.max.questionsEver)
      throw new Refusal(`more than ${this.max.questionsEver} names were asked for`);
  }

  /** A connection came, whatever becomes of it. */
  arrive(): void {
    this.#ever += 1;
  }

  /** A place for one that came. @returns what gives it back. @throws Refusal where there is none. */
  enter(): () => void {
    const { connections, connectionsEver } = this.max;
    if (this.#ever > connectionsEver) throw new Refusal(`more than ${connectionsEver} connections`);
    if (this.#open >= connections) throw new Refusal(`more than ${connections} connections at a time`);
    this.#open += 1;
    let isIn = true;
    return () => {
      if (isIn) this.#open -= 1;
      isIn = false;
    };
  }

  /** A request in an opened connection. @throws Refusal once there are too many. */
  request(): void {
    this.#requests += 1;
    if (this.#requests > this.max.requestsEver)
      throw new Refusal(`more than ${this.max.requestsEver} requests`);
  }

  /** Bytes that are kept in memory. @throws Refusal where they are too many; then they are not counted. */
  hold(bytes: number): void {
    if (this.#held + bytes > this.max.heldBytes)
      throw new Refusal(`more than ${this.max.heldBytes} bytes of bodies that are signed at a time`);
    this.#held += bytes;
  }

  letGo(bytes: number): void {
    this.#held -= bytes;
  }

  /** Bytes from the tool. @throws Refusal once they are too many. */
  send(bytes: number): void {
    this.#sent += bytes;
    if (this.#sent > this.max.bytesSent) throw new Refusal(`more than ${this.max.bytesSent} bytes sent`);
  }

  /** Bytes to the tool. @throws Refusal once they are too many. */
  receive(bytes: number): void {
    this.#received += bytes;
    if (this.#received > this.max.bytesReceived)
      throw new Refusal(`more than ${this.max.bytesReceived} bytes received`);
  }
}
