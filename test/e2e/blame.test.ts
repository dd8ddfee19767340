import { randomUUID } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { Isolation } from '../../src/functions/manifest.ts';
import {
  DEATHS,
  type Death,
  type Event,
  eventIn,
  goesOn,
  ISOLATIONS,
  LANGUAGES,
  MEMORY,
} from '../support/blame-table.ts';
import type { Language } from '../support/function-table.ts';
import { misbehavingNode } from '../support/misbehaving-node.ts';
import type { Reply } from '../support/node.ts';
import { NO_NETWORK } from '../support/node.ts';
import type { ZipEntries } from '../support/zip.ts';

// What killed a call, in every language and isolation: the code names it, and the next call is fine. Calls of one function run one
// after the other, in the order of the table: with `process` isolation all but the engine's in one sandbox, so that a kill for
// memory, which the engine remembers for ever, is not blamed for what comes after it.

/** Seconds. */
const SHORT_TIMEOUT = 5;

const turns = new Map<string, Promise<unknown>>();

const nameOf = (language: Language, isolation: Isolation, { shortTimeout }: Death) =>
  `${shortTimeout ? 'short-' : ''}${language}-${isolation}`;

const at = misbehavingNode((language, misbehave) => {
  const functions: Record<string, ZipEntries> = {};
  for (const isolation of ISOLATIONS) {
    functions[`${language}-${isolation}`] = misbehave(language, { isolation, memory: MEMORY, ...NO_NETWORK });
    const timeout = SHORT_TIMEOUT;
    functions[`short-${language}-${isolation}`] = misbehave(language, {
      isolation,
      memory: MEMORY,
      timeout,
      ...NO_NETWORK,
    });
  }
  return functions;
});

const CELLS = DEATHS.flatMap((death) =>
  LANGUAGES.flatMap((language) =>
    ISOLATIONS.flatMap((isolation) => {
      const event = eventIn(language, death);
      const title = `${death.killer} ${death.how}: ${language}, ${isolation}: ${death.code}`;
      return event ? [[title, { death, language, isolation, event }] as const] : [];
    }),
  ),
);

describe('what killed a call', () => {
  test.concurrent.each(CELLS)('%s', async (_title, { death, language, isolation, event }) => {
    const name = nameOf(language, isolation, death);
    await inTurn(name, async () => {
      const fits = death.fits?.[language];
      if (fits) await at.node.ok(name, fits);
      const reply = death.engine ? await endedByEngine(name, death.engine) : await at.node.call(name, event);
      checkReply(reply, death);
      const record = await at.node.get(`/invocations/${reply.body.InvocationId}`);
      expect(record.body).toMatchObject({ State: 'failed', Code: death.code });
      const value = randomUUID();
      const next = await at.node.ok(name, { do: 'value', value });
      expect(next.result).toBe(value);
      const same = next.meta.ContainerName === record.body.Meta?.ContainerName;
      expect(same, 'the next call has the sandbox of the dead one').toBe(goesOn(isolation, death));
    });
  });
});

function checkReply({ status, body }: Reply, death: Death): void {
  const shown = JSON.stringify(body);
  expect(body.Code, shown).toBe(death.code);
  expect(status).toBe(death.code === 'function_timeout' ? 504 : 502);
  expect(body.Details).toMatchObject(death.details ?? {});
  if (death.says) expect(`${body.Message} ${JSON.stringify(body.Details)}`).toMatch(death.says);
  if (death.by === 'kernel') expect(body.Details?.['oomKills'], shown).toBeGreaterThan(0);
  if (death.by === 'language') expect(body.Details, shown).toHaveProperty('errorType');
}

/** A call whose container somebody ends while its handler runs. */
async function endedByEngine(name: string, how: NonNullable<Death['engine']>): Promise<Reply> {
  const word = randomUUID();
  const event: Event = { do: 'tell', word };
  const reply = at.node.call(name, event);
  const said = await Promise.race([at.beacon.heard(word), reply]);
  if ('status' in said) return said;
  const { sandbox } = said;
  const container = (await at.node.daemon.containers()).find(
    (one) => one.labels['io.worker-front.sandbox'] === sandbox,
  );
  if (!container) throw new Error(`no container of sandbox ${sandbox}`);
  if (how === 'remove') await at.node.engine.removeContainer(container.id);
  else await at.node.engine.killContainer(container.id, how === 'stop' ? 'SIGTERM' : 'SIGKILL');
  return await reply;
}

/** One call of a function at a time. */
function inTurn(name: string, work: () => Promise<void>): Promise<void> {
  const before = turns.get(name) ?? Promise.resolve();
  const mine = before.then(work);
  turns.set(
    name,
    mine.catch(() => undefined),
  );
  return mine;
}
