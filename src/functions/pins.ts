import { readFileSync } from 'node:fs';
import { z } from 'zod';
import type { Bundle } from '../code/bundle.ts';
import { messageOf, systemCode } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { writeDurably } from '../lib/write-durably.ts';
import type { Entry } from './entry.ts';
import type { Bundles } from './redeploy.ts';

const pinSchema = z.object({
  /** The version that serves. */
  version: z.string(),
  /** What the rollback turned away from: the pin ends when the object is another one. */
  refused: z.object({ tag: z.string(), version: z.string() }),
});

export type Pin = z.output<typeof pinSchema>;

/** Rollbacks that hold until the object changes, also over a restart. */
export interface Pins {
  get(name: string): Pin | undefined;
  /** undefined: it has ended. Writes only what differs; a failure is logged and costs the pin at the next start. */
  set(name: string, pin: Pin | undefined): void;
}

/** Reads the pins of earlier runs. A broken file is a warning: the newest versions serve then. */
export function openPins(path: string, logger: Logger): Pins {
  const pins = new Map<string, Pin>();
  try {
    const found: unknown = JSON.parse(readFileSync(path, 'utf8'));
    z.looseObject({}).parse(found);
    // Key by key: zod's own objects and records leave out a function named `__proto__`.
    const read = Object.entries(found as object).map(([name, pin]) => [name, pinSchema.parse(pin)] as const);
    for (const [name, pin] of read) pins.set(name, pin);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') {
      logger.warn({ reason: messageOf(error) }, 'pins.json in DATA_DIR is broken: rollbacks of earlier runs are lost');
    }
  }
  return {
    get: (name) => pins.get(name),
    set(name, pin) {
      if (JSON.stringify(pins.get(name)) === JSON.stringify(pin)) return;
      if (pin) pins.set(name, pin);
      else pins.delete(name);
      try {
        writeDurably(path, `${JSON.stringify(Object.fromEntries(pins), undefined, 2)}\n`);
      } catch (error) {
        logger.warn({ function: name, reason: messageOf(error) }, 'a rollback could not be noted for the next start');
      }
    },
  };
}

/** What a name's entry says about its pin. */
export function pinOf(entry: Entry | undefined): Pin | undefined {
  if (!entry?.current || !entry.refused) return undefined;
  return { version: entry.current.version, refused: { tag: entry.refused.tag, version: entry.refused.version } };
}

/** The bundle to serve in the place of the newest one: the one that is pinned, if it still counts and is here. */
export function pinnedBundle(newest: Bundle, pin: Pin | undefined, bundles: Bundles): Bundle {
  if (!pin || (newest.tag !== pin.refused.tag && newest.version !== pin.refused.version)) return newest;
  return bundles.get?.(newest.name, pin.version) ?? newest;
}
