import {
  type ClientRequest,
  type IncomingMessage,
  request as requestOutside,
  type ServerResponse,
  STATUS_CODES,
} from "node:http";
import type { Duplex, Readable } from "node:stream";
import type { EgressFact } from "../../contract/network.ts";
import { Refusal, remedyIn, type Visit } from "../visit.ts";
import { answerHeaders, answerTrailers, maskerOf } from "./answer-head.ts";
import { answerTo, written } from "./await-outside.ts";
import { type Forward, judgeRequest, shownPath } from "./judge-request.ts";
import { MaskStream } from "./mask-stream.ts";
import { bodyOf, countReceived, countSent, outgoing, type Tally, wholeBody } from "./outgoing.ts";
import { watchHead } from "./placeholder-head.ts";
import { respond } from "./respond.ts";
import { type Upstream, UpstreamFailure } from "./upstream.ts";
import { carryWebSocket } from "./websocket.ts";

/** Interim answers (RFC 9110 15.2) to one request, of which a tool is told the first `100`. */
export const INFORMATION_MAX = 16;

/** One request, and where its answer goes. */
export interface Asked {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Present where it asks for another protocol on its connection. */
  readonly upgrade?: { readonly socket: Duplex; readonly head: Buffer };
  /** Words of a refusal that needs no judging. */
  readonly refused?: string;
}

interface Ended {
  readonly status: number | null;
  /** The connection may have another request. */
  readonly goesOn: boolean;
}

/** Judges one request, carries it, and reports it. @returns whether the connection may have another one. */
export async function exchange(visit: Visit, upstream: Upstream, asked: Asked): Promise<boolean> {
  const startedMs = Date.now();
  const tally: Tally = { sent: 0, received: 0 };
  const { request, response } = asked;
  const { credential, name, port } = visit;
  const method = request.method ?? "";
  const path = shownPath(request.url ?? "");
  const report = (
    verdict: EgressFact["verdict"],
    status: number | null,
    how: Pick<EgressFact, "why" | "remedy"> = {},
  ): void =>
    visit.report({
      ...how,
      ...{ verdict, kind: "request", name, port, startedMs, durationMs: Date.now() - startedMs },
      ...(upstream.address === undefined ? {} : { address: upstream.address }),
      ...{ bytesSent: tally.sent, bytesReceived: tally.received, request: { method, path, status } },
      ...(credential === undefined || verdict === "refused" ? {} : { credential: credential.name }),
    });
  try {
    const ended = await carry(visit, upstream, asked, tally);
    report("allowed", ended.status);
    return ended.goesOn;
  } catch (error) {
    const why = error instanceof Refusal ? error.message : "a fault of the gate";
    const status = error instanceof Refusal && !(error instanceof UpstreamFailure) ? 403 : 502;
    const isFresh = !response.headersSent && !response.destroyed;
    const isBegun = response.headersSent || response.statusCode === 101;
    const remedy = remedyIn(error);
    report("refused", isFresh ? status : isBegun ? response.statusCode : null, { why, ...remedy });
    // An answer that was begun may not look like a whole one.
    if (!isFresh) request.socket.destroy();
    else
      await respond(asked, status, wordsOf(status === 502 ? `${name} was not reached: ${why}` : why, error));
    return false;
  }
}

/** What judging refused; a remedy it has where only the rules are in the way. */
class JudgedRefusal extends Refusal {}

/** For the tool: which rule is missing. Other remedies are for whoever runs it, and may name what is outside. */
function wordsOf(why: string, error: unknown): string {
  const { remedy } = error instanceof JudgedRefusal ? error : {};
  return remedy === undefined ? why : `${why}\nto permit it, ${remedy}`;
}

async function carry(visit: Visit, upstream: Upstream, asked: Asked, tally: Tally): Promise<Ended> {
  const { request, response, upgrade } = asked;
  const { rule, name, port, credential } = visit;
  const { method = "", url: target = "", rawHeaders, httpVersion } = request;
  countSent(visit, tally, rawHeaders.join("").length + target.length);
  visit.bounds.request();
  if (asked.refused !== undefined) throw new Refusal(asked.refused);
  const judged = judgeRequest({ method, target, rawHeaders, httpVersion, rule, name, port });
  if ("refused" in judged) throw new JudgedRefusal(judged.refused, judged);
  if (judged.upgrade !== (upgrade !== undefined)) throw new Refusal("its Upgrade can be read in two ways");
  if (judged.upgrade && credential?.masksResponses === true)
    throw new Refusal(`a WebSocket cannot be searched for the secret of credential \`${credential.name}\``);
  watchHead(visit, judged.forward);
  let body: Buffer | undefined;
  if (credential?.signsBody === true) {
    if (request.headers.expect !== undefined) response.writeContinue();
    body = await wholeBody(visit, request, tally);
  }
  try {
    return await carryOut(visit, upstream, { ...asked, body }, judged.forward, tally);
  } finally {
    visit.bounds.letGo(body?.length ?? 0);
  }
}

async function carryOut(
  visit: Visit,
  upstream: Upstream,
  asked: Asked & { readonly body: Buffer | undefined },
  forward: Forward,
  tally: Tally,
): Promise<Ended> {
  const { request, upgrade, body } = asked;
  const { method } = forward;
  const sent = await outgoing(visit, forward, body);
  const outside = requestOutside({
    ...{ agent: upstream.agent, method, path: sent.target, headers: sent.headers.flat() },
    ...{ setDefaultHeaders: false, insecureHTTPParser: false },
  });
  const onGone = (): void => void outside.destroy();
  visit.signal.addEventListener("abort", onGone);
  request.socket.once("close", onGone);
  try {
    if (upgrade !== undefined) return await carryWebSocket(visit, { ...asked, upgrade }, outside, tally);
    return await carryAnswer(visit, asked, outside, tally, body);
  } catch (error) {
    outside.destroy();
    throw error;
  } finally {
    visit.signal.removeEventListener("abort", onGone);
    request.socket.off("close", onGone);
  }
}

async function carryAnswer(
  visit: Visit,
  { request, response }: Asked,
  outside: ClientRequest,
  tally: Tally,
  body: Buffer | undefined,
): Promise<Ended> {
  let informed = 0;
  outside.on("information", () => {
    informed += 1;
    if (informed > INFORMATION_MAX) outside.destroy(new UpstreamFailure("its answer does not begin"));
  });
  outside.once("continue", () => {
    if (!response.headersSent && request.headers.expect !== undefined) response.writeContinue();
  });
  const answered = answerTo(outside);
  answered.catch(() => {}); // Waited for below.
  let isSent = false;
  const sending = send(visit, request, outside, tally, body).then(() => {
    isSent = true;
  });
  // An answer may come before all is sent; a refusal of what is sent ends both.
  const answer = await Promise.race([answered, sending.then(() => answered)]);
  const refusal = new Promise<never>((_resolve, reject) => sending.catch(reject));
  await Promise.race([receive(visit, answer, response, tally), refusal]);
  if (!isSent) {
    outside.destroy();
    sending.catch(() => {});
  }
  return { status: answer.statusCode ?? null, goesOn: isSent };
}

async function send(
  visit: Visit,
  request: IncomingMessage,
  outside: ClientRequest,
  tally: Tally,
  body: Buffer | undefined,
): Promise<void> {
  if (body !== undefined) {
    outside.end(body);
    return;
  }
  outside.flushHeaders();
  for await (const chunk of bodyOf(visit, request, tally)) await written(outside, chunk);
  outside.end();
}

async function receive(
  visit: Visit,
  answer: IncomingMessage,
  response: ServerResponse,
  tally: Tally,
): Promise<void> {
  countReceived(visit, tally, answer.rawHeaders.join("").length);
  const masker = maskerOf(visit);
  const headers = answerHeaders(answer, masker);
  const status = answer.statusCode ?? 0;
  if (status < 200 || status > 999)
    throw new UpstreamFailure("its answer has no status that can be passed on");
  response.sendDate = false;
  // Its own words for the status are no part of the protocol (RFC 9112 4), and may hold what Node does not send.
  response.writeHead(status, STATUS_CODES[status] ?? "", headers);
  const source: Readable = masker === undefined ? answer : answer.pipe(new MaskStream(masker));
  if (source !== answer) answer.once("error", (error) => source.destroy(error));
  answer.on("aborted", () => source.destroy(new UpstreamFailure("it broke off in the middle of its answer")));
  try {
    response.flushHeaders();
    for await (const chunk of source as AsyncIterable<Buffer>) {
      countReceived(visit, tally, chunk.length);
      await written(response, chunk);
    }
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw new UpstreamFailure("it broke off in the middle of its answer");
  }
  if (!answer.complete) throw new UpstreamFailure("it broke off in the middle of its answer");
  const trailers = answerTrailers(answer, masker);
  if (trailers.length > 0) response.addTrailers(trailers);
  await new Promise<void>((resolve) => {
    response.once("close", resolve).once("finish", resolve);
    response.end();
  });
}
