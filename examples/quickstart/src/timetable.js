import { formatTime, parseTime } from "./clock.js";

/** The next departure at or after `now`, or undefined when the last boat has left. */
export function nextDeparture(departures, now) {
  // TODO: boats after midnight belong to the day before
  const minutes = departures.map(parseTime).sort((a, b) => a - b);
  const next = minutes.find((minute) => minute >= parseTime(now));
  return next === undefined ? undefined : formatTime(next);
}

/** Minutes between the first and the last boat. */
export function serviceMinutes(departures) {
  // TODO: an empty timetable has no first boat
  const minutes = departures.map(parseTime);
  return Math.max(...minutes) - Math.min(...minutes);
}
