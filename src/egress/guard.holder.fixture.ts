/** Run as a process of its own: makes two namespaces, says where they are, and waits to be killed. */
import { startGuard } from "./guard.fixture.ts";

const guard = startGuard();
const spaces = await Promise.all([
  guard.make([{ address: "198.18.0.2", port: 443 }]),
  guard.make([{ address: "198.18.0.2", port: 443 }]),
]);
console.log(spaces.map(({ netNamespace }) => netNamespace).join(" "));
setInterval(() => {}, 1_000);
