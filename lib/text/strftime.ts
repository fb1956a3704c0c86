/** The part of C's strftime that chat templates use, in local time and English. */
import { TemplateError } from '../errors.js';

const months = 'January February March April May June July August September October November December'.split(' ');
const days = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ');
const pad = (value: number, width = 2): string => String(value).padStart(width, '0');

const fields: Record<string, (date: Date) => string> = {
  Y: (d) => String(d.getFullYear()),
  y: (d) => pad(d.getFullYear() % 100),
  m: (d) => pad(d.getMonth() + 1),
  d: (d) => pad(d.getDate()),
  e: (d) => String(d.getDate()).padStart(2, ' '),
  B: (d) => months[d.getMonth()] as string,
  b: (d) => (months[d.getMonth()] as string).slice(0, 3),
  A: (d) => days[d.getDay()] as string,
  a: (d) => (days[d.getDay()] as string).slice(0, 3),
  H: (d) => pad(d.getHours()),
  I: (d) => pad(d.getHours() % 12 || 12),
  M: (d) => pad(d.getMinutes()),
  S: (d) => pad(d.getSeconds()),
  p: (d) => (d.getHours() < 12 ? 'AM' : 'PM'),
  j: (d) =>
    pad(
      Math.round((Date.UTC(d.getFullYear(), d.getMonth(), d.getDate()) - Date.UTC(d.getFullYear(), 0, 0)) / 864e5),
      3,
    ),
  F: (d) => `${d.getFullYear()}-${pad(d.getMonth() + 1)}-${pad(d.getDate())}`,
  T: (d) => `${pad(d.getHours())}:${pad(d.getMinutes())}:${pad(d.getSeconds())}`,
  '%': () => '%',
};

/** `-` after the percent sign drops a leading zero. */
export function strftime(date: Date, format: string): string {
  return format.replace(/%(-?)(.)/g, (whole, dash: string, letter: string) => {
    const field = Object.hasOwn(fields, letter) ? fields[letter] : undefined;
    if (field === undefined) throw new TemplateError('strftime_now: unknown field', { found: whole });
    const text = field(date);
    return dash === '-' ? text.replace(/^[0 ](?=.)/, '') : text;
  });
}
