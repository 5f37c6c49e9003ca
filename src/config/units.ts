import { GateError, type Place } from "../contract/errors.ts";

const DURATIONS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
const SIZES: Readonly<Record<string, number>> = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };

/** A timer of Node counts 31 bits of milliseconds and fires at once beyond; a day is far below. */
const DURATION_MS_MAX: number = 24 * 3_600_000;
const SIZE_BYTES_MAX: number = 2 ** 40;

interface UnitProblem {
  readonly message: string;
  readonly remedy: string;
}

export type Measured =
  | { readonly ok: true; readonly value: number }
  | { readonly ok: false; readonly problem: UnitProblem };

function measure(
  text: string,
  units: Readonly<Record<string, number>>,
  most: number,
  example: string,
): Measured {
  const fail = (message: string): Measured => ({
    ok: false,
    problem: {
      message,
      remedy: `write a number and a unit (${Object.keys(units).join(", ")}), such as ${example}`,
    },
  });
  const parts = /^(\d{1,12})(?:\.(\d{1,3}))? ?([A-Za-z]+)$/.exec(text);
  if (parts === null) return fail(`\`${text.slice(0, 40)}\` is not a number with a unit`);
  const [, whole = "", fraction = "", unit = ""] = parts;
  const factor = Object.hasOwn(units, unit) ? units[unit] : undefined;
  if (factor === undefined) return fail(`\`${unit}\` is not a unit known here`);
  // In thousandths, so that `1.5s` is exact and `0.3B` is found not to be whole.
  const value = (Number(whole) * 1000 + Number(fraction.padEnd(3, "0"))) * factor;
  if (value / 1000 > most) return fail(`\`${text}\` is more than can be asked for`);
  if (value % 1000 !== 0) return fail(`\`${text}\` is not a whole number of ${Object.keys(units)[0]}`);
  if (value === 0) return fail(`\`${text}\` is zero, and no limit means "without limit"`);
  return { ok: true, value: value / 1000 };
}

/** `250ms`, `30s`, `1.5m`, `2h` as milliseconds. */
export function measureDuration(text: string): Measured {
  return measure(text, DURATIONS, DURATION_MS_MAX, "`30s`");
}

/** `64KiB`, `512MiB`, `1GiB` as bytes. Decimal units are not offered: `MB` means two things. */
export function measureSize(text: string): Measured {
  return measure(text, SIZES, SIZE_BYTES_MAX, "`512MiB`");
}

function orThrow(measured: Measured, place: Place | undefined): number {
  if (measured.ok) return measured.value;
  const { message, remedy } = measured.problem;
  // A flag has no place and is a matter of usage; a file has one.
  if (place === undefined) throw new GateError("ERR_USAGE", message, { remedy });
  throw new GateError("ERR_CONFIG_INVALID", message, { remedy, place });
}

/** @throws GateError `ERR_USAGE`, or `ERR_CONFIG_INVALID` where `place` says which file it came from. */
export function parseDuration(text: string, place?: Place): number {
  return orThrow(measureDuration(text), place);
}

/** @throws GateError `ERR_USAGE`, or `ERR_CONFIG_INVALID` where `place` says which file it came from. */
export function parseSize(text: string, place?: Place): number {
  return orThrow(measureSize(text), place);
}
