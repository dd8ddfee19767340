import { describe, expect, it } from 'vitest';
import { WorkerFrontError } from '../lib/errors.ts';
import { QueuePlaces } from './queue-places.ts';

function queue(limit: number) {
  const places = new QueuePlaces(() => limit);
  const refused: string[] = [];
  const enter = (name: string, call = '') =>
    places.enter(name, (error) => {
      expect(error).toMatchObject({ code: 'node_overloaded', retryAfter: 1 });
      refused.push(name + call);
    });
  return { places, refused, enter };
}

describe("the node's queue", () => {
  it('counts who waits, and gives a place back once', () => {
    const { places, enter } = queue(10);
    const a = enter('a');
    enter('a');
    enter('b');
    a.leave();
    a.leave();
    expect([places.taken, places.takenBy('a'), places.takenBy('b'), places.takenBy('c')]).toEqual([2, 1, 1, 0]);
  });

  it('is full for the function that has filled it', () => {
    const { places, refused, enter } = queue(2);
    enter('a');
    enter('a');
    expect(() => enter('a')).toThrow(WorkerFrontError);
    expect(places.taken).toBe(2);
    expect(refused).toEqual([]);
  });

  it('takes a place from the function with the most waiting calls, its newest one, for one with fewer', () => {
    const { places, refused, enter } = queue(5);
    for (const call of ['1', '2', '3', '4']) enter('flooded', call);
    enter('some');
    enter('new');
    enter('some');
    expect(refused).toEqual(['flooded4', 'flooded3']);
    expect([places.takenBy('flooded'), places.takenBy('some'), places.takenBy('new'), places.taken]).toEqual([
      2, 2, 1, 5,
    ]);
    // Everybody has a fair part now: nobody is pushed out and in again for ever.
    expect(() => enter('some')).toThrow('5 calls are waiting');
    expect(() => enter('new')).toThrow('NODE_QUEUE_LIMIT');
    expect(refused).toHaveLength(2);
  });

  it('may shrink while calls wait', () => {
    let limit = 3;
    const places = new QueuePlaces(() => limit);
    for (let call = 0; call < 3; call++) places.enter('a', () => undefined);
    limit = 1;
    expect(() => places.enter('a', () => undefined)).toThrow(WorkerFrontError);
    expect(places.taken).toBe(3);
  });
});
