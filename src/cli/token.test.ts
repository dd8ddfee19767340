import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readTokens } from '../tokens/token-file.ts';
import { addToken, listTokens, revokeToken, type TokenOptions } from './token.ts';

let dir: string;
let printed: string[];
let notes: string[];
let options: TokenOptions;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'wf-token-'));
  printed = [];
  notes = [];
  const file = join(dir, 'data', 'tokens.json');
  options = { file, print: (line) => void printed.push(line), note: (line) => void notes.push(line) };
});
afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

const add = (name: string, role = ['invoke'], functions: string[] = []) =>
  addToken(name, { role, function: functions }, options);

test('the token alone is printed; what is to be known stands beside it', async () => {
  await add('ci', ['read', 'invoke', 'read'], ['W1', 'W2', 'W1']);
  expect(printed).toEqual([expect.stringMatching(/^wf_/)]);
  expect(notes.join('\n')).toMatch(/only time.*\n.*asks every caller/);
  expect(readTokens(options.file)).toMatchObject([{ name: 'ci', roles: ['read', 'invoke'], functions: ['W1', 'W2'] }]);
  notes.length = 0;
  await add('second');
  expect(notes.join('\n')).not.toMatch(/every caller/);
});

test('a token is revoked by its name or its id; the last one says what that means', async () => {
  await add('one');
  await add('two');
  await revokeToken('one', options);
  const left = readTokens(options.file) ?? [];
  expect(left.map(({ name }) => name)).toEqual(['two']);
  expect(notes.join('\n')).not.toMatch(/no token is left/);
  await revokeToken(left[0]!.id, options);
  expect(readTokens(options.file)).toEqual([]);
  expect(notes.join('\n')).toMatch(/no token is left: the node goes on asking/);
});

test('there may be none to list', () => {
  listTokens({ json: true }, options);
  expect(printed).toEqual(['{"Tokens":[]}']);
});

test.each<[string, () => Promise<void>, RegExp]>([
  ['a name twice', () => add('ops'), /there is a token 'ops' already/],
  ['a name with a space', () => add('a b'), /'a b' is no name/],
  ['an unknown role', () => add('x', ['root']), /'root' must be one of invoke, read, admin/],
  ['no name of a function', () => add('x', ['read'], ['../y']), /'\.\.\/y' is no name of a function/],
  ['an unknown token', () => revokeToken('nobody', options), /there is no token 'nobody'/],
])('is refused, and changes nothing: %s', async (_, command, words) => {
  await add('ops');
  const before = readTokens(options.file);
  await expect(command()).rejects.toThrow(words);
  expect(readTokens(options.file)).toEqual(before);
});

test('a broken file is not written over', async () => {
  await add('ops');
  writeFileSync(options.file, '{}');
  await expect(add('late')).rejects.toThrow(/TOKENS_FILE: .* is wrong at 'tokens'/);
});
