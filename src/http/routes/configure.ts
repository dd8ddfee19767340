import { z } from 'zod';
import { messageOf, WorkerFrontError } from '../../lib/errors.ts';
import { ANY_METHOD, type Api } from '../api.ts';
import type { HttpDeps } from '../deps.ts';
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

/** Parameters that the description lists: the settings there are, by HotFunctions' spelling. */
function parametersOf(state: Record<string, unknown>) {
  const names = Object.keys(state).map((name) => name.replace(/(?!^)[A-Z]/g, (letter) => `_${letter}`).toLowerCase());
  return z.looseObject(Object.fromEntries(names.map((name) => [name, z.string().optional()])));
}

const schema = {
  summary: 'Show or change settings',
  description:
    'Query parameters, or a body of JSON or of form fields, by the names of `State` in any spelling. Without any, nothing changes. A bad value refuses the whole request.',
  tags: ['node'],
  body: z.looseObject({}).meta({ description: 'Settings by name.', example: { UsingRestMode: true } }),
  response: {
    200: {
      description: 'The settings after the change.',
      content: {
        'application/json': {
          schema: z.object({ Message: z.enum(['configure changed', 'nothing changed']), State: state }),
        },
      },
    },
    ...errorResponses('invalid_setting'),
  },
};

/**
 * HotFunctions' `ConfigureWorker` (worker_front/request_handler.go): any method, snake_case query names, and a reply
 * of `Message` ("configure changed" when a value differs, else "nothing changed") and `State` with Go's field names.
 */
export function configureRoute(app: Api, deps: Pick<HttpDeps, 'configure'>): void {
  const { configure } = deps;
  app.route({
    method: [...ANY_METHOD],
    url: '/configure',
    config: documented({ ...schema, querystring: parametersOf(configure.state()) }),
    onRequest(request, _reply, done) {
      delete request.raw.headers['content-type'];
      done();
    },
    async handler(request) {
      const patch = patchOf(request.query as Record<string, unknown>, request.body as Buffer | undefined);
      const { changed } = Object.keys(patch).length > 0 ? await configure.change(patch) : { changed: false };
      return { Message: changed ? 'configure changed' : 'nothing changed', State: configure.state() };
    },
  });
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
