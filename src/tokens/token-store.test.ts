import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { deferred } from '../lib/deferred.ts';
import type { Logger } from '../lib/logger.ts';
import { silentLogger } from '../lib/logger.ts';
import { newSecret } from './secret.ts';
import { changeTokens, readTokens, type TokenRecord } from './token-file.ts';
import { openTokenStore, type TokenStore } from './token-store.ts';

let dir: string;
let file: string;
let store: TokenStore | undefined;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'wf-tokens-'));
  file = join(dir, 'tokens.json');
});
afterEach(() => {
  store?.close();
  store = undefined;
  rmSync(dir, { recursive: true, force: true });
});

function made(name: string, more: Partial<TokenRecord> = {}) {
  const { token, id, digest } = newSecret();
  const created = new Date().toISOString();
  const record: TokenRecord = { name, id, sha256: digest.toString('hex'), roles: ['invoke'], created, ...more };
  return { token, record };
}

const write = (...tokens: TokenRecord[]) => writeFileSync(file, JSON.stringify({ tokens }));

/** Opens the store; `next` resolves with the next line of the log or the audit log. */
function open(apiTokens: string[] = [], path: string | undefined = file) {
  let line = deferred<{ message: string; fields: Record<string, unknown> }>();
  const say = (fields: object, message: string) => {
    line.resolve({ message, fields: { ...fields } });
    line = deferred();
  };
  const logger: Logger = { ...silentLogger, info: say, warn: say };
  store = openTokenStore({ apiTokens, file: path, intervalMs: 20 }, { logger, audit: logger });
  return { store, next: () => line.promise };
}

describe('a token', () => {
  test('is known by its text alone, with its roles and functions', () => {
    const one = made('one', { roles: ['invoke', 'read'], functions: ['W1'] });
    write(one.record, made('two').record);
    const { store: tokens } = open();
    const caller = tokens.find(one.token);
    expect(caller?.name).toBe('one');
    expect([...(caller?.roles ?? [])]).toEqual(['invoke', 'read']);
    expect([...(caller?.functions ?? [])]).toEqual(['W1']);
    expect(tokens.demanded).toBe(true);
  });

  test('with another secret behind the same id is none', () => {
    const { token, record } = made('one');
    write(record);
    const { store: tokens } = open();
    const other = made('x').token;
    expect(tokens.find(token.slice(0, 12) + other.slice(12))).toBeUndefined();
    expect(tokens.find(token.slice(0, -1))).toBeUndefined();
    expect(tokens.find(`${token}x`)).toBeUndefined();
    expect(tokens.find(record.id)).toBeUndefined();
    expect(tokens.find(record.sha256)).toBeUndefined();
    expect(tokens.find('')).toBeUndefined();
  });

  test('that is admin may do all', () => {
    const { token, record } = made('root', { roles: ['admin'] });
    write(record);
    expect([...(open().store.find(token)?.roles ?? [])].sort()).toEqual(['admin', 'invoke', 'read']);
  });

  test('of API_TOKEN is admin, beside those of the file', () => {
    const { token, record } = made('one');
    write(record);
    const { store: tokens } = open(['first', 'second']);
    expect(tokens.find('second')).toMatchObject({ name: 'API_TOKEN-2', functions: undefined });
    expect(tokens.find('first')?.roles.has('admin')).toBe(true);
    expect(tokens.find(token)?.roles.has('admin')).toBe(false);
    expect(tokens.find('third')).toBeUndefined();
  });

  test('has 256 random bits, of which the file has none', async () => {
    const { token, record } = made('one');
    await changeTokens(file, (tokens) => ({ tokens: [...tokens, record], result: undefined }));
    expect(token).toMatch(/^wf_[0-9a-f]{8}_[\w-]{43}$/);
    expect(JSON.stringify(readTokens(file))).not.toContain(token.slice(12));
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });
});

describe('a change of the file', () => {
  test('counts without a restart, and is logged without the hash', async () => {
    const one = made('one');
    const two = made('two');
    write(one.record);
    const { store: tokens, next } = open();
    const line = next();
    write(one.record, two.record);
    expect(await line).toMatchObject({ message: 'audit', fields: { action: 'token added', after: { name: 'two' } } });
    expect(JSON.stringify(await line)).not.toContain(two.record.sha256);
    expect([tokens.find(one.token)?.name, tokens.find(two.token)?.name]).toEqual(['one', 'two']);
    const gone = next();
    write(two.record);
    expect(await gone).toMatchObject({ fields: { action: 'token revoked', before: { name: 'one' }, after: null } });
    expect([tokens.find(one.token), tokens.find(two.token)?.name]).toEqual([undefined, 'two']);
  });

  test('that is wrong changes nothing, and says so', async () => {
    const { token, record } = made('one');
    write(record);
    const { store: tokens, next } = open();
    const line = next();
    writeFileSync(file, '{"tokens": [');
    expect(await line).toMatchObject({ fields: { reason: expect.stringMatching(/TOKENS_FILE: .* is no JSON/) } });
    expect(tokens.find(token)?.name).toBe('one');
  });

  test('to the first token makes the node ask for one, and removing the file does not undo that', async () => {
    const { store: tokens, next } = open();
    expect(tokens.demanded).toBe(false);
    const added = next();
    const { token, record } = made('one');
    write(record);
    await added;
    expect(tokens.demanded).toBe(true);
    const removed = next();
    rmSync(file);
    await removed;
    expect([tokens.find(token), tokens.demanded]).toEqual([undefined, true]);
  });
});

describe('a file that is wrong', () => {
  const { record } = made('one');
  test.each([
    ['no JSON', 'tokens', /is no JSON/],
    ['no list', '{}', /is wrong at 'tokens'/],
    ['an unknown role', JSON.stringify({ tokens: [{ ...record, roles: ['root'] }] }), /'tokens\.0\.roles\.0'/],
    ['no role', JSON.stringify({ tokens: [{ ...record, roles: [] }] }), /'tokens\.0\.roles'/],
    ['a misspelt limit', JSON.stringify({ tokens: [{ ...record, function: ['W1'] }] }), /function/],
    ['a limit to nothing', JSON.stringify({ tokens: [{ ...record, functions: [] }] }), /'tokens\.0\.functions'/],
    ['a short hash', JSON.stringify({ tokens: [{ ...record, sha256: 'ab' }] }), /'tokens\.0\.sha256'/],
    ['a name twice', JSON.stringify({ tokens: [record, { ...record, id: '00000000' }] }), /two tokens with the name/],
    ['an id twice', JSON.stringify({ tokens: [record, { ...record, name: 'two' }] }), /two tokens with the id/],
  ])('rejects the start: %s', (_, text, words) => {
    writeFileSync(file, text);
    expect(() => open()).toThrow(words);
    expect(() => open()).toThrow(expect.objectContaining({ code: 'invalid_setting' }));
  });
});

test('changes at the same time come one after the other', async () => {
  const records = Array.from({ length: 10 }, (_, index) => made(`t${index}`).record);
  await Promise.all(
    records.map((record) => changeTokens(file, (tokens) => ({ tokens: [...tokens, record], result: undefined }))),
  );
  expect(
    readTokens(file)
      ?.map(({ name }) => name)
      .sort(),
  ).toEqual(records.map(({ name }) => name).sort());
});
