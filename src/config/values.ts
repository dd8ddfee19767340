import { isIP } from 'node:net';
import { z } from 'zod';
import { parseSize } from '../lib/size.ts';

type Input = string | number | boolean;

function checked<T>(wanted: string, parse: (text: string) => T | undefined) {
  const input = z.union([z.string(), z.number(), z.boolean()], { error: `must be ${wanted}` });
  return input.transform((value: Input, context): T => {
    const result = parse(String(value).trim());
    if (result !== undefined) return result;
    context.addIssue({ code: 'custom', message: `must be ${wanted}` });
    return z.NEVER;
  });
}

function decimal(text: string): number | undefined {
  return /^[+-]?\d+(\.\d+)?$/.test(text) ? Number(text) : undefined;
}

/** A whole number within bounds. */
export function integer(min: number, max = Number.MAX_SAFE_INTEGER) {
  const wanted =
    max === Number.MAX_SAFE_INTEGER ? `a whole number, ${min} or more` : `a whole number from ${min} to ${max}`;
  return checked(wanted, (text) => {
    const value = decimal(text);
    return value !== undefined && Number.isInteger(value) && value >= min && value <= max ? value : undefined;
  });
}

/** A number within bounds, fractions allowed; for seconds, CPUs and factors. */
export function number(min: number, max: number) {
  return checked(`a number from ${min} to ${max}`, (text) => {
    const value = decimal(text);
    return value !== undefined && value >= min && value <= max ? value : undefined;
  });
}

/** A size in bytes, at least `min`. */
export function size(min = 0) {
  return checked(`a size such as 100000000, 100MB or 100MiB${min > 0 ? `, at least ${min} bytes` : ''}`, (text) => {
    const bytes = parseSize(text);
    return bytes !== undefined && bytes >= min ? bytes : undefined;
  });
}

/** A size in bytes, or -1 for "no limit". */
export const sizeOrNone = checked('a size such as 100000000, 100MB or 100MiB, or -1 for no limit', (text) =>
  text === '-1' ? -1 : parseSize(text),
);

/** `true/1/yes/on` and `false/0/no/off`; the empty text is false. */
export const flag = checked('true, 1, yes, on, or false, 0, no, off', (text) => {
  switch (text.toLowerCase()) {
    case 'true':
    case '1':
    case 'yes':
    case 'on':
      return true;
    case 'false':
    case '0':
    case 'no':
    case 'off':
    case '':
      return false;
    default:
      return undefined;
  }
});

export function oneOf<const T extends readonly string[]>(values: T) {
  return checked(`one of ${values.join(', ')}`, (text) => values.find((value): value is T[number] => value === text));
}

/** Any text that is not empty. */
export const text = checked('a text that is not empty', (value) => (value === '' ? undefined : value));

/** Comma-separated texts. */
export const list = checked('a comma-separated list', (value) =>
  value
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== ''),
);

const HOST_NAME = /^([A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?|\[?[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]?)$/;

/** Comma-separated names of hosts. */
export const hostNames = checked('a comma-separated list of host names, without scheme and port', (value) => {
  const names = value
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
  // `name:80` would pass as an IPv6 address.
  return names.every((name) => HOST_NAME.test(name) && !/^[^:]*:\d+$/.test(name)) ? names : undefined;
});

/** Comma-separated origins as browsers send them, or `*`. */
export const origins = checked('a comma-separated list of origins such as https://app.example.com, or *', (value) => {
  const parts = value
    .split(',')
    .map((part) => part.trim().toLowerCase())
    .filter((part) => part !== '');
  return parts.every((part) => part === '*' || isOrigin(part)) ? parts : undefined;
});

function isOrigin(text: string): boolean {
  return /^https?:\/\/[^*]+$/.test(text) && URL.canParse(text) && new URL(text).origin === text;
}

/** Names of networks that Fastify's `trustProxy` knows. */
const NETWORK_NAMES = new Set(['loopback', 'linklocal', 'uniquelocal']);

/** Comma-separated addresses and networks. Never "all": who trusts everybody's headers lets callers choose their address. */
export const networks = checked('a comma-separated list such as 127.0.0.1,10.0.0.0/8,loopback', (value) => {
  const parts = value
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
  return parts.every(isNetwork) ? parts : undefined;
});

function isNetwork(text: string): boolean {
  if (NETWORK_NAMES.has(text)) return true;
  const [address = '', bits, ...rest] = text.split('/');
  const family = isIP(address);
  if (family === 0 || rest.length > 0) return false;
  return bits === undefined || (/^[1-9]\d{0,2}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128));
}

/** `from=to,from=to` */
export const mapping = checked('a list such as python3.7=python3.11,nodejs12=nodejs20', (value) => {
  const pairs = new Map<string, string>();
  for (const part of value.split(',')) {
    if (part.trim() === '') continue;
    const match = /^\s*([^=\s]+)\s*=\s*([^=\s]+)\s*$/.exec(part);
    if (!match?.[1] || !match[2]) return undefined;
    pairs.set(match[1], match[2]);
  }
  return pairs;
});

const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}$/;

/** Comma-separated IPv4 addresses. */
export const ipv4Addresses = checked('a comma-separated list of IPv4 addresses', (value) => {
  const addresses = value
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
  return addresses.every((address) => IPV4.test(address)) ? addresses : undefined;
});

/** `10.0.0.5:5432,10.1.0.0/16:443`: IPv4 addresses or networks, with a port each. */
export const networkTargets = checked('a list such as 10.0.0.5:5432,10.1.0.0/16:443', (value) => {
  const targets: { address: string; port: number }[] = [];
  for (const part of value.split(',')) {
    if (part.trim() === '') continue;
    const match = /^([\d.]+)(\/\d{1,2})?:(\d{1,5})$/.exec(part.trim());
    const [, address = '', bits = '', port = ''] = match ?? [];
    if (!IPV4.test(address) || Number(bits.slice(1)) > 32 || Number(port) < 1 || Number(port) > 65_535)
      return undefined;
    targets.push({ address: `${address}${bits}`, port: Number(port) });
  }
  return targets;
});
