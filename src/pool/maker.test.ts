import { describe, expect, it } from 'vitest';
import { settle } from '../lib/manual-clock.ts';
import { planOf } from './testing/fakes.ts';
import { makesPools, ready } from './testing/pools.ts';

const LAYERS = { layers: [], image: undefined };

// The same from an image and, without a ready stem, from a runtime image with the function's folder.
describe.each([
  ['its image', {}],
  ['the runtime image', LAYERS],
])('a sandbox from %s', (_what, startable) => {
  const harness = makesPools({ startable });

  it.each([
    ['container', 'once'],
    ['process', 'kept'],
    ['shared', 'kept'],
  ] as const)('of isolation %s that a call waits for uses a network holder %s', async (isolation, joins) => {
    const h = harness();
    void h.pool.acquire(planOf('f', { isolation })).catch(() => undefined);
    await settle();
    expect(h.launches.map(({ request }) => request.joins)).toEqual([joins]);
  });

  it.each([
    ['container', 'once'],
    ['shared', undefined],
  ] as const)('of isolation %s that is made ahead of calls uses a holder %s', async (isolation, joins) => {
    const h = harness({ containerPoolLimit: 1 });
    await ready(h, planOf('f', { isolation }));
    await settle();
    expect(h.launches.map(({ request }) => request.joins)).toEqual([joins]);
  });
});

describe('a stem', () => {
  const harness = makesPools({ startable: LAYERS });

  it('has a network of its own: nobody waits for it', async () => {
    const h = harness({ stemSandboxes: 1 });
    await ready(h);
    await settle();
    expect(h.launches.map(({ request }) => [request.imageName, request.joins])).toEqual([['', undefined]]);
  });
});
