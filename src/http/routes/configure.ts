import { z } from 'zod';
import { messageOf, WorkerFrontError } from '../../lib/errors.ts';
import { ANY_METHOD, type Api } from '../api.ts';
import type { AuditEntry } from '../audit.ts';
import type { RouteDeps } from '../deps.ts';
import { documented } from '../openapi.ts';
import { errorResponses } from '../schemas.ts';

const state = z
  .looseObject({
    UserCodeSizeLimit: z.number().int().meta({ description: 'Bytes of unpacked code kept; -1 is no limit.' }),
    ContainerPoolLimit: z.number().int(),
    ContainerPoolNum: z.number().int(),
    UsingRestMode: z.boolean(),
    RestContainerLifeTime: z.number().meta({ description: 'Seconds.' }),
  })
  .meta({ id: 'ConfigureState', description: 'All settings that can be changed at run time.' });

const persisted = z
  .object({
    Settings: z
      .record(z.string(), z.unknown())
      .meta({ description: 'All settings that are saved for the next start.', example: { QUEUE_LIMIT: 50 } }),
    Overridden: z
      .array(z.string())
      .meta({ description: 'Those of them that a flag, the environment or `.env` overrides as things are.' }),
  })
  .meta({ id: 'PersistedSettings', description: 'Only with `persist=true`.' });

/** Parameters that the description lists: the settings there are, by HotFunctions' spelling. */
function parametersOf(state: Record<string, unknown>) {
  const names = Object.keys(state).map((name) => name.replace(/(?!^)[A-Z]/g, (letter) => `_${letter}`).toLowerCase());
  const settings = Object.fromEntries(names.map((name) => [name, z.string().optional()]));
  const persist = z.string().optional().meta({ description: 'true: the changes are also saved for the next start.' });
  return z.looseObject({ ...settings, persist });
}

const schema = {
  summary: 'Show or change settings',
  description:
    'Query parameters, or a body of JSON or of form fields, by the names of `State` in any spelling. Without any, nothing changes. A bad value refuses the whole request. Changes last until the daemon ends; with `persist=true` they are also saved in its data folder, and count at the next start unless a flag, the environment or `.env` says otherwise.',
  tags: ['node'],
  body: z.looseObject({}).meta({ description: 'Settings by name.', example: { UsingRestMode: true } }),
  response: {
    200: {
      description: 'The settings after the change.',
      content: {
        'application/json': {
          schema: z.object({
            Message: z.enum(['configure changed', 'nothing changed']),
            State: state,
            Persisted: persisted.optional(),
          }),
        },
      },
    },
    ...errorResponses('invalid_setting', 'storage_full'),
  },
};

/**
 * HotFunctions' `ConfigureWorker` (worker_front/request_handler.go): any method, snake_case query names, and a reply
 * of `Message` ("configure changed" when a value differs, else "nothing changed") and `State` with Go's field names.
 */
export function configureRoute(app: Api, deps: Pick<RouteDeps, 'configure' | 'audited'>): void {
  const { configure } = deps;
  app.route({
    method: [...ANY_METHOD],
    url: '/configure',
    config: {
      ...documented({ ...schema, querystring: parametersOf(configure.state()) }),
      needs: 'admin',
      nodeWide: true,
    },
    onRequest(request, _reply, done) {
      delete request.raw.headers['content-type'];
      done();
    },
    async handler(request) {
      const patch = patchOf(request.query as Record<string, unknown>, request.body as Buffer | undefined);
      const persist = takePersist(patch);
      const given = Object.keys(patch).length > 0 || persist !== undefined;
      const change = async () => {
        const entry: AuditEntry = { action: 'configure', asked: { settings: namesIn(patch), persist } };
        return deps.audited(request, entry, async () => {
          const before = configure.state();
          const done = await configure.change(patch, { persist: persist === true });
          Object.assign(entry, difference(before, configure.state()));
          return done;
        });
      };
      const { changed, saved } = given ? await change() : { changed: false };
      return {
        Message: changed ? 'configure changed' : 'nothing changed',
        State: configure.state(),
        ...(saved && { Persisted: { Settings: saved.values, Overridden: saved.overridden } }),
      };
    },
  });
}

/** Takes `persist` out of the patch: it is no setting, but says how long the settings beside it last. */
function takePersist(patch: Record<string, unknown>): boolean | undefined {
  const name = ['persist', 'Persist', 'PERSIST'].find((spelling) => spelling in patch);
  if (name === undefined) return undefined;
  const text = String((patch[name] as string | number | boolean | null) ?? '').trim();
  delete patch[name];
  if (/^(true|1|yes|on)$/i.test(text)) return true;
  if (/^(false|0|no|off|)$/i.test(text)) return false;
  throw invalidSetting('persist', 'must be true or false');
}

function patchOf(query: Record<string, unknown>, body: Buffer | undefined): Record<string, unknown> {
  const patch: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  for (const [name, value] of [...Object.entries(query), ...fieldsOf(body?.toString().trim() ?? '')]) {
    if (name in patch || Array.isArray(value)) throw invalidSetting(name, 'is given more than once');
    if (typeof value === 'object' && value !== null) throw invalidSetting(name, 'must be one value');
    patch[name] = value;
  }
  return patch;
}

/** The fields of a body: a JSON object, or the form fields that `curl -d name=value` sends. */
function fieldsOf(text: string): [string, unknown][] {
  if (text === '') return [];
  if (/^[A-Za-z_-]+=/.test(text)) return [...new URLSearchParams(text)];
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new WorkerFrontError('invalid_request', `the request body is no JSON: ${messageOf(error).slice(0, 200)}`);
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new WorkerFrontError('invalid_request', 'the request body must be a JSON object of settings');
  }
  return Object.entries(json);
}

function invalidSetting(field: string, problem: string): WorkerFrontError {
  return new WorkerFrontError('invalid_setting', `${field}: ${problem}`, { details: { field } });
}

/** A patch may be refused because of what is in it: what the log gets of it has bounds. */
function namesIn(patch: Record<string, unknown>): string[] {
  return Object.keys(patch)
    .slice(0, 100)
    .map((name) => name.slice(0, 64));
}

/** The settings that differ. */
function difference(before: Record<string, unknown>, after: Record<string, unknown>) {
  const names = Object.keys(after).filter((name) => before[name] !== after[name]);
  const pick = (state: Record<string, unknown>) => Object.fromEntries(names.map((name) => [name, state[name]]));
  return { before: pick(before), after: pick(after) };
}
