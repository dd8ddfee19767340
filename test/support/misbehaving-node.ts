import { afterAll, beforeAll } from 'vitest';
import { type Beacon, openBeacon } from './beacon.ts';
import { LANGUAGES } from './blame-table.ts';
import type { Language } from './function-table.ts';
import { type Misbehave, misbehaving } from './misbehave.ts';
import { startNode, type TestNode } from './node.ts';
import type { ZipEntries } from './zip.ts';

export interface MisbehavingNode {
  node: TestNode;
  /** Hears what running handlers say. */
  beacon: Beacon;
}

/**
 * A node of functions that misbehave as they are told: started before the first test of a file, stopped after the last.
 * `functionsOf`: those of one language.
 */
export function misbehavingNode(
  functionsOf: (language: Language, misbehave: Misbehave) => Record<string, ZipEntries>,
): MisbehavingNode {
  const started = {} as MisbehavingNode;
  beforeAll(async () => {
    started.beacon = await openBeacon();
    const misbehave = await misbehaving(LANGUAGES);
    const functions = Object.assign({}, ...LANGUAGES.map((language) => functionsOf(language, misbehave)));
    started.node = await startNode(functions as Record<string, ZipEntries>, {
      RUN_DIR: started.beacon.runDir,
      REST_CONTAINER_LIFE_TIME: '600',
    });
  });
  afterAll(async () => {
    try {
      await started.node?.stop();
    } finally {
      await started.beacon[Symbol.asyncDispose]();
    }
  });
  return started;
}
