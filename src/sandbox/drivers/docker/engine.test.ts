import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { leftIn, openDockerBench } from "./docker.fixture.ts";
import { ANSWER_BYTES_MAX, connectEngine } from "./engine.ts";
import { probeDocker } from "./probe.ts";

type Answers = Readonly<Record<string, (response: ServerResponse) => void>>;

const says =
  (body: unknown, status = 200) =>
  (response: ServerResponse): void => {
    response.writeHead(status).end(JSON.stringify(body));
  };

/** Answers by the end of the path, and keeps what it was asked. */
async function fakeDaemon(
  answers: Answers,
): Promise<AsyncDisposable & { socket: string; asked: readonly string[] }> {
  const folder = mkdtempSync(join(tmpdir(), "callgate-engine-"));
  const socket = join(folder, "d.sock");
  const asked: string[] = [];
  const server = createServer(({ method, url = "" }, response) => {
    asked.push(`${method} ${url}`);
    const [, answer] = Object.entries(answers).find(([end]) => url.split("?")[0]?.endsWith(end)) ?? [];
    if (answer === undefined) says({ message: `no ${url} here` }, 404)(response);
    else answer(response);
  }).listen(socket);
  await once(server, "listening");
  return {
    socket,
    asked,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
      rmSync(folder, { recursive: true });
    },
  };
}

describe("the Engine's API", () => {
  const versions: readonly [MinAPIVersion: string | undefined, spoken: string][] = [
    [undefined, "v1.41"],
    ["1.12", "v1.41"],
    ["1.44", "v1.44"],
    ["2.0", "v2.0"],
  ];
  for (const [MinAPIVersion, spoken] of versions) {
    test(`a daemon whose oldest version is ${MinAPIVersion} is spoken to in ${spoken}`, async () => {
      await using daemon = await fakeDaemon({ "/version": says({ MinAPIVersion }), "/info": says({}) });
      const engine = connectEngine(daemon.socket);
      await engine.call("GET", "/info");
      engine.close();
      assert.deepEqual(daemon.asked, ["GET /version", `GET /${spoken}/info`]);
    });
  }

  test("an answer that is too long, comes too late, or is cut off is no answer", async () => {
    const answers: Answers = {
      "/version": says({}),
      "/long": (response) => void response.end(Buffer.alloc(ANSWER_BYTES_MAX + 1)),
      "/just": (response) => void response.end(JSON.stringify("x".repeat(ANSWER_BYTES_MAX - 2))),
      "/late": () => {},
      "/cut": (response) =>
        void response.writeHead(200, { "content-length": 9 }).write("{", () => response.destroy()),
    };
    await using daemon = await fakeDaemon(answers);
    const engine = connectEngine(daemon.socket, 200);
    for (const [path, message] of [
      ["/long", /longer than/],
      ["/late", /no answer within 200 ms/],
      ["/cut", /aborted/],
    ] as const) {
      await assert.rejects(engine.call("GET", path), { code: "ERR_DRIVER_UNAVAILABLE", message });
    }
    assert.equal((await engine.call("GET", "/just")).status, 200);
    engine.close();
  });

  test("a socket that is not there, and where to look for it", async () => {
    const engine = connectEngine("/nonexistent/docker.sock");
    await assert.rejects(engine.call("GET", "/info"), {
      code: "ERR_DRIVER_UNAVAILABLE",
      remedy: /systemctl start docker.*`\/nonexistent\/docker.sock`/,
    });
  });
});

test("a docker that is not installed, not started, rootless", async () => {
  const nowhere = { socket: "/nonexistent/docker.sock", runtime: "runc" };
  const engine = connectEngine(nowhere.socket);
  const absent = await probeDocker(engine, nowhere, false);
  assert.deepEqual(absent, {
    usable: false,
    detail: "docker is not installed",
    remedy: "apt-get install docker.io",
  });
  assert.match((await probeDocker(engine, nowhere, true)).remedy ?? "", /systemctl start docker/);
  await using daemon = await fakeDaemon({
    "/version": says({}),
    "/info": says({ SecurityOptions: ["name=seccomp", "name=rootless"] }),
  });
  const rootless = connectEngine(daemon.socket);
  const { usable, detail } = await probeDocker(rootless, { ...nowhere, socket: daemon.socket });
  rootless.close();
  assert.equal(usable, false);
  assert.match(detail, /rootless/);
});

describe("a daemon whose processes are not this host's", {
  skip: process.geteuid?.() === 0 ? false : "only root gives the pipes to another user",
}, () => {
  const Id = `sha256:${"1".repeat(64)}`;
  const refused = async (onStart: (folder: string) => void): Promise<void> => {
    let folder = "";
    await using daemon = await fakeDaemon({
      "/version": says({}),
      "/info": says({ Runtimes: { runc: {} }, NCPU: 1 }),
      [`${encodeURIComponent(Id)}/json`]: says({ Id }),
      "/containers/json": says([]),
      "/containers/create": says({ Id: "c1" }, 201),
      "/containers/c1/start": (response) => {
        onStart(folder);
        says(undefined, 204)(response);
      },
      // The number is one of this host's: the test's own. It would not survive being killed.
      "/containers/c1/json": says({ State: { Pid: process.pid, Running: true } }),
      "/containers/c1": says(undefined, 204),
    });
    await using bench = openDockerBench({ socket: daemon.socket, image: Id });
    folder = bench.folder;
    await assert.rejects(bench.driver.open(bench.profile()), {
      code: "ERR_CONTROL_UNAVAILABLE",
      message: /cannot be looked at from here/,
    });
    assert.ok(daemon.asked.includes("DELETE /v1.41/containers/c1?force=true&v=true"));
    assert.deepEqual(leftIn(bench), []);
  };

  test("one on another machine: nothing opens the pipes, and nothing of this host is killed for it", async () => {
    await refused(() => {});
  });

  test("one that counts processes in another namespace: a launcher speaks, and it is not the process named", async () => {
    await refused((folder) => {
      const [cell = ""] = readdirSync(folder).filter((name) => name.startsWith("cell-"));
      writeFileSync(join(folder, cell, "up"), "R\n");
    });
  });
});
