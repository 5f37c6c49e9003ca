import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { GateError } from "../../contract/errors.ts";
import { Desk } from "./cli.fixture.ts";
import { checkNetOptions } from "./net-options.ts";

function refusal(...values: readonly string[]): GateError {
  try {
    checkNetOptions(values);
  } catch (error) {
    assert.ok(error instanceof GateError, String(error));
    return error;
  }
  assert.fail("it was taken");
}

describe("--net", () => {
  it("takes its values as they are", () => {
    assert.deepEqual(checkNetOptions(), []);
    assert.deepEqual(checkNetOptions(["a.example", "A.example:8443"]), ["a.example", "A.example:8443"]);
  });

  it("says which of its values is wrong, with the way out", () => {
    const { code, message, remedy } = refusal("a.example", "b.example:0");
    assert.equal(code, "ERR_USAGE");
    assert.match(message, /^`--net b\.example:0`: `0` is not a port$/);
    assert.match(remedy ?? "", /1 to 65535/);
    assert.match(refusal("a.example", "a.example").message, /^`--net`: two rules are about `a\.example:443`/);
    assert.match(refusal("--").message, /needs a host, and `--` follows/);
  });

  it("is a matter of usage, whatever it names", async (test) => {
    const desk = new Desk(test);
    for (const value of ["a.example/x", "169.254.169.254", "169.254.169.254:80"]) {
      const { err } = await desk.expect(64, "exec", "--net", value, "--", "true");
      assert.ok(err.includes(`\`--net ${value}\`: `), err);
      assert.match(err, /fix .*\n.*ERR_USAGE/);
    }
  });
});
