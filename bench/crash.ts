// The crash test of `npm test`, 200 times.
import { crash } from "../test/crash.fixture.ts";

const KILLS = 200;
const totals = await crash(KILLS, ({ kills, returned, ran, recovered, entries }) => {
  if (kills % 20 === 0)
    console.log(
      `${kills} kills: ${returned} results returned, ${ran} tools ran, ${recovered} calls recovered, ${entries} entries`,
    );
});
console.log(
  `no result without an outcome, no tool without an intent, every restart verified, no orphan: ${JSON.stringify(totals)}`,
);
