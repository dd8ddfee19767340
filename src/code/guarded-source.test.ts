import { describe, expect, it } from 'vitest';
import { namesIn } from '../../test/conformance/code-source.ts';
import { silentLogger } from '../lib/logger.ts';
import { ManualClock } from '../lib/manual-clock.ts';
import { guardSource } from './guarded-source.ts';
import { notFound, sourceDown, sourceProblem } from './problems.ts';
import type { WritableCodeSource } from './source.ts';

type Answer = 'ok' | 'down' | 'refuses' | 'missing';

function guardedSource(writable = true) {
  const clock = new ManualClock();
  const asked: string[] = [];
  const told: string[] = [];
  const state = { answer: 'ok' as Answer };
  async function ask<T>(what: string, value: T, none: T): Promise<T> {
    asked.push(what);
    if (state.answer === 'down') throw sourceDown(`refuses connections at ${clock.now()}`);
    if (state.answer === 'refuses') throw sourceProblem('403');
    return state.answer === 'missing' ? none : value;
  }
  const source: WritableCodeSource = {
    description: 'a source',
    writable,
    stat: (name) => ask(`stat ${name}`, { name, tag: '1' }, undefined),
    async fetch(name) {
      const fetched = await ask(`fetch ${name}`, { name, tag: '1', bytes: 1 }, undefined);
      if (!fetched) throw notFound(name);
      return fetched;
    },
    async *list() {
      yield await ask('list', ['a'], []);
      yield ['b', 'c'];
    },
    check: () => ask('check', undefined, undefined),
    put: (name) => ask(`put ${name}`, { name, tag: '2' }, { name, tag: '2' }),
    delete: (name) => ask(`delete ${name}`, undefined, undefined),
    close: async () => void asked.push('close'),
  };
  const logger = {
    ...silentLogger,
    warn: (_fields: object, message: string) => void told.push(message),
    info: (_fields: object, message: string) => void told.push(message),
  };
  const guarded = guardSource(source, { clock, logger, random: () => 0 }) as ReturnType<typeof guardSource> &
    WritableCodeSource;
  return { clock, asked, told, state, guarded };
}

describe('a guarded source', () => {
  it('passes everything on while all is well', async () => {
    const { guarded, asked } = guardedSource();
    expect(await guarded.stat('f')).toEqual({ name: 'f', tag: '1' });
    expect(await guarded.fetch('f', '/x')).toMatchObject({ bytes: 1 });
    expect(await namesIn(guarded)).toEqual(['a', 'b', 'c']);
    await guarded.check();
    expect(await guarded.put('f', Buffer.alloc(0))).toEqual({ name: 'f', tag: '2' });
    await guarded.delete('f');
    await guarded.close();
    expect(asked).toEqual(['stat f', 'fetch f', 'list', 'check', 'put f', 'delete f', 'close']);
    expect({ ...guarded }).toMatchObject({ description: 'a source', writable: true, isDown: false, failures: 0 });
  });

  it('of a source that cannot be written has nothing to write with', () => {
    expect(guardedSource(false).guarded).not.toHaveProperty('put');
  });

  it('asks a source that is down no more, answers at once and never with a 404, and finds it again', async () => {
    const { guarded, asked, told, state, clock } = guardedSource();
    state.answer = 'down';
    for (let i = 0; i < 3; i++)
      await expect(guarded.stat(`f${i}`)).rejects.toMatchObject({ code: 'code_source_error' });
    expect(guarded.isDown).toBe(true);
    const open = { code: 'code_source_error', message: expect.stringContaining('refuses connections'), retryAfter: 1 };
    await expect(guarded.stat('g')).rejects.toMatchObject(open);
    await expect(guarded.fetch('g', '/x')).rejects.toMatchObject(open);
    await expect(namesIn(guarded)).rejects.toMatchObject(open);
    await expect(guarded.check()).rejects.toMatchObject(open);
    await expect(guarded.put('g', Buffer.alloc(0))).rejects.toMatchObject(open);
    await expect(guarded.delete('g')).rejects.toMatchObject(open);
    expect(asked).toEqual(['stat f0', 'stat f1', 'stat f2']);
    await clock.advance(3000);
    expect(asked.slice(3)).toEqual(['stat f2', 'stat f2']);
    expect(guarded.failures).toBe(5);
    // An object that is missing is an answer, too.
    state.answer = 'missing';
    await clock.advance(4000);
    expect(guarded.isDown).toBe(false);
    expect(await guarded.stat('g')).toBeUndefined();
    expect(told).toEqual([expect.stringContaining('is down'), expect.stringContaining('answers again')]);
  });

  it('goes on asking a source that refuses', async () => {
    const { guarded, asked, state } = guardedSource();
    state.answer = 'refuses';
    for (let i = 0; i < 10; i++) await expect(guarded.stat('f')).rejects.toThrow('403');
    expect(asked).toHaveLength(10);
    expect(guarded).toMatchObject({ isDown: false, failures: 0 });
  });
});
