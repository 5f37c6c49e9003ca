const FORM = /^([01]\d|2[0-3]):([0-5]\d)$/;

/** Minutes since midnight of a time such as `07:45`. */
export function parseTime(text) {
  const match = FORM.exec(text);
  if (match === null) throw new RangeError(`not a time of day: ${text}`);
  return Number(match[1]) * 60 + Number(match[2]);
}

/** `07:45` for 465 minutes since midnight. */
export function formatTime(minutes) {
  const [hour, minute] = [Math.floor(minutes / 60), minutes % 60];
  return `${String(hour).padStart(2, "0")}:${String(minute).padStart(2, "0")}`;
}
