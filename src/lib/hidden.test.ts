import { format } from 'node:util';
import { expect, it } from 'vitest';
import { Hidden } from './hidden.ts';

it('gives its value to who asks for it, and to nobody else', () => {
  const hidden = new Hidden({ password: 'swordfish' });
  expect(hidden.reveal()).toEqual({ password: 'swordfish' });
  const holder = { hidden, list: [hidden] };
  const shown = [JSON.stringify(holder), format('%o %s %j', holder, hidden, hidden), String(hidden)];
  expect(JSON.stringify(shown)).not.toMatch(/swordfish|password/);
  expect(JSON.stringify(holder)).toBe('{"hidden":"[hidden]","list":["[hidden]"]}');
});
