import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { WorkerFrontError } from '../lib/errors.ts';
import { Hidden } from '../lib/hidden.ts';
import { type Logger, silentLogger } from '../lib/logger.ts';
import { ManualClock, settle } from '../lib/manual-clock.ts';
import { createSecrets } from './secrets.ts';

let root: string;
let dir: string;
let clock: ManualClock;
let changes: number;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'wf-secrets-'));
  dir = join(root, 'secrets');
  mkdirSync(dir);
  clock = new ManualClock();
  changes = 0;
});
afterEach(() => rmSync(root, { recursive: true }));

const put = (path: string, value: string | Buffer) => {
  mkdirSync(dirname(join(dir, path)), { recursive: true });
  writeFileSync(join(dir, path), value);
};
const secretsOf = (more: { environment?: [string, string][]; key?: string; logger?: Logger; dir?: string } = {}) =>
  createSecrets(
    {
      dir: more.dir ?? dir,
      environment: new Hidden(new Map(more.environment)),
      key: () => Buffer.from(more.key ?? 'key'),
      clock,
      logger: more.logger ?? silentLogger,
    },
    () => (changes += 1),
  );
const valueOf = (secrets: ReturnType<typeof secretsOf>, name: string, functionName = 'f') =>
  secrets.of(functionName, { X: name }).values.reveal()['X'];
const refusal = (secrets: ReturnType<typeof secretsOf>, name = 's', functionName = 'f'): WorkerFrontError => {
  try {
    secrets.of(functionName, { X: name });
  } catch (error) {
    return error as WorkerFrontError;
  }
  throw new Error('it was not refused');
};

describe('whose secrets', () => {
  it("a function's own file comes before that of all functions, and that before the environment", () => {
    const secrets = secretsOf({
      environment: [
        ['A', 'env a'],
        ['B', 'env b'],
        ['DB_PASS_WORD', 'env c'],
      ],
    });
    put('f/a', 'own a');
    put('@all/a', 'all a');
    put('@all/b', 'all b');
    expect([valueOf(secrets, 'a'), valueOf(secrets, 'b'), valueOf(secrets, 'db.pass-word')]).toEqual([
      'own a',
      'all b',
      'env c',
    ]);
    expect(valueOf(secrets, 'a', 'g')).toBe('all a');
  });

  it('nobody gets that of another function, and the answer is the same as if there were none', () => {
    const secrets = secretsOf();
    put('g/s', 'of g');
    const foreign = refusal(secrets, 's');
    expect(foreign.code).toBe('invalid_function');
    expect(foreign.details).toEqual({ file: 'config.json', key: 'env.X', secret: 's' });
    expect(foreign.message).toBe(refusal(secrets, 'none').message.replaceAll('none', 's'));
    expect(foreign.message).toContain('the operator puts it into SECRETS_DIR/f/s');
  });

  it('without a folder and the variable there is none', () => {
    const secrets = createSecrets(
      {
        dir: undefined,
        environment: new Hidden(new Map([['A', 'x']])),
        key: () => Buffer.from('k'),
        clock,
        logger: silentLogger,
      },
      () => undefined,
    );
    expect(valueOf(secrets, 'a')).toBe('x');
    expect(refusal(secrets, 'b').code).toBe('invalid_function');
  });
});

describe('what is a secret', () => {
  it.each([
    ['plain', 'x', 'x'],
    ['one newline at the end goes', 'x\n', 'x'],
    ['only one', 'x\n\n', 'x\n'],
    ["also Windows'", 'x\r\n', 'x'],
    ['other space stays', ' x\ty ', ' x\ty '],
    ['all of Unicode', 'pä🐟', 'pä🐟'],
    ['the largest', 'x'.repeat(65_536), 'x'.repeat(65_536)],
  ])('%s', (_name, content, value) => {
    put('f/s', content);
    expect(valueOf(secretsOf(), 's')).toBe(value);
  });

  it.each([
    ['a large one', 'x'.repeat(65_537), 'more than 65536 bytes'],
    ['an empty one', '', 'is empty'],
    ['an empty line', '\n', 'is empty'],
    ['NUL', 'a\0b', 'NUL'],
    ['bytes that are no text', Buffer.from([0x61, 0xff]), 'UTF-8'],
  ])('refuses %s, and shows nothing of it', (_name, content, words) => {
    put('f/s', content);
    const { message } = refusal(secretsOf());
    expect(message).toContain(words);
    expect(message).not.toContain(root);
  });

  it('is held to the same rules in the environment', () => {
    expect(valueOf(secretsOf({ environment: [['S', 'x\n']] }), 's')).toBe('x');
    expect(refusal(secretsOf({ environment: [['S', '']] })).message).toContain('is empty');
  });

  it('refuses folders and pipes, at once', () => {
    mkdirSync(join(dir, 'f/s'), { recursive: true });
    expect(refusal(secretsOf()).message).toContain('is no file');
    execFileSync('mkfifo', [join(dir, 'f/pipe')]);
    expect(refusal(secretsOf(), 'pipe').message).toContain('is no file');
  });

  it('follows links inside the folder, and none that lead out of it', () => {
    put('f/own', 'shared');
    mkdirSync(join(dir, 'g'));
    symlinkSync('../f/own', join(dir, 'g/s'));
    expect(valueOf(secretsOf(), 's', 'g')).toBe('shared');
    writeFileSync(join(root, 'outside'), 'of somebody');
    // A name that begins like the folder is still outside.
    mkdirSync(join(root, 'secrets-2'));
    writeFileSync(join(root, 'secrets-2/x'), 'of somebody');
    for (const target of ['../../outside', join(root, 'outside'), '../../secrets-2/x', '/etc/passwd']) {
      rmSync(join(dir, 'f/s'), { force: true });
      symlinkSync(target, join(dir, 'f/s'));
      expect(refusal(secretsOf()).message).toContain('leads out of SECRETS_DIR');
    }
    symlinkSync(root, join(dir, 'linked'));
    expect(refusal(secretsOf(), 'outside', 'linked').message).toContain('leads out of SECRETS_DIR');
  });

  it('may be in a folder that is a link itself', () => {
    put('f/s', 'x');
    symlinkSync(dir, join(root, 'link'));
    expect(valueOf(secretsOf({ dir: join(root, 'link') }), 's')).toBe('x');
  });
});

describe('a change', () => {
  it('is seen half a second after the last look, and gives another digest', async () => {
    const secrets = secretsOf();
    put('f/s', 'one');
    const before = secrets.of('f', { X: 's' });
    put('f/s', 'two');
    expect(secrets.of('f', { X: 's' })).toBe(before);
    await clock.advance(500);
    const after = secrets.of('f', { X: 's' });
    expect(after.values.reveal()).toEqual({ X: 'two' });
    expect(after.digest).not.toBe(before.digest);
    await settle();
    expect(changes).toBe(1);
  });

  it('is none when the file is written again with the same value', async () => {
    const secrets = secretsOf();
    put('f/s', 'one');
    const before = secrets.of('f', { X: 's' });
    put('f/new', 'one\n');
    renameSync(join(dir, 'f/new'), join(dir, 'f/s'));
    await clock.advance(500);
    expect(secrets.of('f', { X: 's' })).toBe(before);
    await settle();
    expect(changes).toBe(0);
  });

  it('of the own file that comes is seen too', async () => {
    const secrets = secretsOf();
    put('@all/s', 'all');
    expect(valueOf(secrets, 's')).toBe('all');
    put('f/s', 'own');
    await clock.advance(500);
    expect(valueOf(secrets, 's')).toBe('own');
  });

  it('a secret that is taken away is refused from then on, and is there again when it is put back', async () => {
    const secrets = secretsOf();
    put('f/s', 'one');
    valueOf(secrets, 's');
    rmSync(join(dir, 'f/s'));
    await clock.advance(500);
    expect(refusal(secrets).message).toContain('is not on this node');
    await settle();
    expect(changes).toBe(1);
    expect(refusal(secrets).message).toContain('is not on this node');
    put('f/s', 'back');
    expect(valueOf(secrets, 's')).toBe('back');
  });

  it('to something that is no secret keeps the last value, and says so; never with the value', async () => {
    const lines: unknown[] = [];
    const logger = { ...silentLogger, warn: (...line: unknown[]) => void lines.push(line) } as unknown as Logger;
    const secrets = secretsOf({ logger });
    put('f/s', 'swordfish');
    valueOf(secrets, 's');
    for (const wrong of ['', 'a\0b']) {
      put('f/s', wrong);
      await clock.advance(500);
      expect(valueOf(secrets, 's')).toBe('swordfish');
    }
    renameSync(dir, join(root, 'away'));
    await clock.advance(500);
    expect(valueOf(secrets, 's')).toBe('swordfish');
    expect(lines).toHaveLength(3);
    expect(JSON.stringify(lines)).not.toContain('swordfish');
  });
});

describe('the digest', () => {
  it('is the same for the same values under one key, whatever the order', () => {
    put('f/a', '1');
    put('f/b', '2');
    const one = secretsOf().of('f', { A: 'a', B: 'b' }).digest;
    expect(secretsOf().of('f', { B: 'b', A: 'a' }).digest).toBe(one);
    expect(secretsOf().of('f', { A: 'b', B: 'a' }).digest).not.toBe(one);
  });

  it('cannot be found by trying values without the key', () => {
    put('f/s', 'swordfish');
    const { digest } = secretsOf().of('f', { X: 's' });
    expect(secretsOf({ key: 'another' }).of('f', { X: 's' }).digest).not.toBe(digest);
    for (const text of ['swordfish', '[["X","swordfish"]]']) {
      expect(createHash('sha256').update(text).digest('hex')).not.toContain(digest);
    }
  });
});

it('says when a file cannot be read', () => {
  mkdirSync(join(dir, 'f'));
  symlinkSync('s', join(dir, 'f/s'));
  expect(refusal(secretsOf()).message).toContain('cannot be read (ELOOP)');
});
