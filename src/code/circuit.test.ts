import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock, settle } from '../lib/manual-clock.ts';
import { Circuit } from './circuit.ts';

class Down extends Error {}

let clock: ManualClock;
let circuit: Circuit;
let jitter: number;
/** What a probe meets. */
let state: 'up' | 'down' | 'hangs' | 'refuses';
const probed: number[] = [];
const changes: boolean[] = [];

beforeEach(() => {
  clock = new ManualClock();
  state = 'down';
  jitter = 0;
  probed.length = 0;
  changes.length = 0;
  circuit = new Circuit({
    clock,
    random: () => jitter,
    isFailure: (error) => error instanceof Down,
    onChange: (open) => void changes.push(open),
  });
});

async function probe(signal: AbortSignal): Promise<void> {
  probed.push(clock.now());
  if (state === 'down') throw new Down('still');
  if (state === 'refuses') throw new Error('403');
  if (state === 'hangs') {
    await new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    });
  }
}

async function fail(error: Error = new Down('down'), tookMs = 0): Promise<void> {
  const run = async () => {
    await clock.advance(tookMs);
    throw error;
  };
  const ended = circuit.run({ probe, run });
  await expect(ended).rejects.toBe(error);
}

const succeed = () => circuit.run({ probe, run: async () => 'fine' });

describe('opens', () => {
  it('after three failures in a row', async () => {
    await fail();
    await fail();
    await succeed();
    await fail();
    await fail();
    expect(circuit.isOpen).toBe(false);
    await fail();
    expect(circuit.isOpen).toBe(true);
    expect(changes).toEqual([true]);
  });

  it('after one that was waited for', async () => {
    await fail(new Down('timeout'), 1000);
    expect(circuit.opened).toMatchObject({ failure: { message: 'timeout' }, retryAfter: 1 });
  });

  it('not for refusals, however many and slow', async () => {
    for (let i = 0; i < 10; i++) await fail(new Error('403'), 5000);
    expect(circuit.isOpen).toBe(false);
    expect(clock.pending).toBe(0);
  });
});

describe('while it is open', () => {
  beforeEach(async () => {
    for (let i = 0; i < 3; i++) await fail();
  });

  it('probes by itself, at pauses that grow to five seconds', async () => {
    await clock.advance(22_000);
    expect(probed).toEqual([1000, 3000, 7000, 12_000, 17_000, 22_000]);
    expect(circuit.isOpen).toBe(true);
  });

  it('shortens each pause by a random part of up to a half', async () => {
    jitter = 0.999_999;
    await clock.advance(6000);
    // The first pause was drawn before.
    expect(probed.map(Math.round)).toEqual([1000, 2000, 4000]);
  });

  it('closes with the first probe that is answered, be it by a refusal', async () => {
    state = 'refuses';
    await clock.advance(1000);
    expect(circuit.isOpen).toBe(false);
    expect(changes).toEqual([true, false]);
    expect(clock.pending).toBe(0);
  });

  it('does not wait for a probe that hangs, and ends it when another one is answered', async () => {
    state = 'hangs';
    await clock.advance(1000);
    state = 'up';
    await clock.advance(1999);
    expect(circuit.isOpen).toBe(true);
    await clock.advance(1);
    expect(circuit.isOpen).toBe(false);
    expect(probed).toEqual([1000, 3000]);
  });

  it('opens again at the first failure after a probe, with a longer pause, until a caller had an answer', async () => {
    state = 'up';
    await clock.advance(1000);
    expect(circuit.isOpen).toBe(false);
    await fail();
    expect(circuit.isOpen).toBe(true);
    await clock.advance(1999);
    expect(probed).toEqual([1000]);
    await clock.advance(1);
    expect(circuit.isOpen).toBe(false);
    await succeed();
    await fail();
    await fail();
    expect(circuit.isOpen).toBe(false);
  });

  it('closes with a call that began before and is answered', async () => {
    await succeed();
    expect(circuit.isOpen).toBe(false);
    expect(clock.pending).toBe(0);
  });

  it('says what the last probe met, and when the next one comes', async () => {
    await clock.advance(3000);
    expect(circuit.opened).toMatchObject({ failure: { message: 'still' }, retryAfter: 4 });
  });

  it('ends with close', async () => {
    state = 'hangs';
    await clock.advance(1000);
    circuit.close();
    circuit.close();
    await settle();
    expect(clock.pending).toBe(0);
    expect(probed).toEqual([1000]);
  });
});
