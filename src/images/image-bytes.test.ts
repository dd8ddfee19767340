import { describe, expect, it } from 'vitest';
import type { ImageState } from '../containers/engine.ts';
import { ManualClock } from '../lib/manual-clock.ts';
import { createImageBytes } from './image-bytes.ts';

const NODE = 'io.worker-front.node';

function image(sizeBytes: number, labels: Record<string, string>): ImageState {
  return { id: `sha256:${sizeBytes}`, tags: [], labels, sizeBytes };
}

function bench(images: ImageState[]) {
  const state = { images, lists: 0, down: false };
  const clock = new ManualClock();
  const bytes = createImageBytes(
    { nodeId: 'n', clock },
    {
      async listImages(labels) {
        state.lists += 1;
        if (state.down) throw new Error('down');
        return state.images.filter((one) => one.labels[NODE] === labels[NODE]);
      },
      inspectImage: async (name) => (name === 'worker-front/python3.11:0123456789ab' ? image(1000, {}) : undefined),
    },
  );
  return { state, clock, bytes };
}

const base = { 'io.worker-front.runtime': 'python3.11', 'io.worker-front.runtime-digest': '0123456789abcdef' };

describe('bytes of function images', () => {
  it("are those above the runtime image; dependency images and other nodes' do not count", async () => {
    const { bytes } = bench([
      image(1010, { [NODE]: 'n', 'io.worker-front.function': 'a', ...base }),
      image(1300, { [NODE]: 'n', 'io.worker-front.function': 'b', ...base }),
      image(1299, { [NODE]: 'n', ...base }),
      image(5000, { [NODE]: 'other', 'io.worker-front.function': 'c', ...base }),
    ]);
    expect(await bytes()).toBe(310);
  });

  it('are asked for once in two seconds, and stay as they were while the engine is down', async () => {
    const { bytes, state, clock } = bench([image(1010, { [NODE]: 'n', 'io.worker-front.function': 'a', ...base })]);
    expect(await Promise.all([bytes(), bytes()])).toEqual([10, 10]);
    expect(await bytes()).toBe(10);
    expect(state.lists).toBe(1);
    state.down = true;
    await clock.advance(2000);
    expect(await bytes()).toBe(10);
    expect(state.lists).toBe(2);
    Object.assign(state, { down: false, images: [] });
    await clock.advance(2000);
    expect(await bytes()).toBe(0);
  });
});
