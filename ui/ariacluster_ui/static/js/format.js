// Numbers as people read them, in the words of presenters/units.py.
const SIZES = ["B", "KB", "MB", "GB", "TB", "PB"];

function digits(value, unit) {
  if (unit === "B" || value >= 99.95) return value.toFixed(0);
  return value >= 9.995 ? value.toFixed(1) : value.toFixed(2);
}

// [number, unit], for places where the unit is set smaller.
export function sizeParts(bytes) {
  let value = Math.max(0, bytes || 0);
  let unit = 0;
  while (value >= 999.5 && unit < SIZES.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return [digits(value, SIZES[unit]), SIZES[unit]];
}

export const size = (bytes) => sizeParts(bytes).join(" ");
export const speed = (rate) => (rate >= 1 ? `${size(rate)}/s` : "0");

export function speedParts(rate) {
  const [value, unit] = sizeParts(rate >= 1 ? rate : 0);
  return [value, `${unit}/s`];
}

export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const two = (n) => String(n).padStart(2, "0");
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${two(whole % 60)}s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)}h ${two(Math.floor((whole % 3600) / 60))}m`;
  const days = Math.floor(whole / 86400);
  return days === 1 ? "1 day" : `${count(days)} days`;
}

// One unit: "12 s", "4 min", "3 h", "2 days".
export function ago(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h`;
  const days = Math.floor(whole / 86400);
  return days === 1 ? "1 day" : `${count(days)} days`;
}

export const count = (n) => (n ?? 0).toLocaleString("en-US");

// "—" while nobody knows.
export function eta(done, total, rate) {
  if (!total || rate < 1) return "—";
  const left = (total - done) / rate;
  return left > 100 * 86400 ? "> 100 days" : duration(left);
}

export const percent = (p) => (p >= 100 ? "100%" : `${(Math.floor(p * 10) / 10).toFixed(1)}%`);
