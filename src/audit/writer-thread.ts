import { parentPort, workerData } from "node:worker_threads";
import { toFaultData } from "./fault.ts";
import { logIdentity } from "./identity.ts";
import type { WriterStart } from "./work.ts";
import { type LocalWriter, openLocalWriter } from "./writer-local.ts";
import type { Request, Response } from "./writer-remote.ts";

/** The worker thread: opens the folder for itself and answers one request at a time, in order. */

/** A folder that cannot be opened is every request's answer: a worker's own death says too little. */
function open(start: WriterStart): LocalWriter | { readonly failed: unknown } {
  try {
    return openLocalWriter(logIdentity(start.stateDir, start.origin), start);
  } catch (failed) {
    return { failed };
  }
}

function answer(writer: LocalWriter, request: Request): Response {
  switch (request.kind) {
    case "commit":
      return { done: writer.commitNow(request.batch) };
    case "memo":
      writer.memoPutNow(request.key, request.value);
      return { done: [] };
    case "close":
      writer.closeNow();
      return { done: [] };
    default:
      return request satisfies never;
  }
}

const port = parentPort;
if (port !== null) {
  const writer = open(workerData as WriterStart);
  port.on("message", (request: Request) => {
    let response: Response;
    try {
      if ("failed" in writer) throw writer.failed;
      response = answer(writer, request);
    } catch (fault) {
      response = { fault: toFaultData(fault) };
    }
    port.postMessage(response);
    if (request.kind === "close") port.close();
  });
}
