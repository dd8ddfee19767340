import type { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { deferred } from '../../lib/deferred.ts';
import type { ContainerEngine, ContainerState, ContainerSummary } from '../engine.ts';
import {
  cannotJoin,
  engineUnavailable,
  nameTaken,
  noSuchContainer,
  noSuchNetwork,
  notStartable,
  unknownImage,
} from '../engine-errors.ts';
import { fromStatus } from './errors.ts';
import { type EngineHttp, labelFilter, readText, segment } from './http.ts';
import { tailOfLog } from './log-stream.ts';
import { toCreateOptions, toLimits } from './to-create-options.ts';

export type ContainerCalls = Pick<
  ContainerEngine,
  | 'createContainer'
  | 'startContainer'
  | 'watchExit'
  | 'killContainer'
  | 'removeContainer'
  | 'updateLimits'
  | 'inspectContainer'
  | 'listContainers'
  | 'containerLogs'
  | 'exportPath'
>;

interface ErrorBody {
  message?: string;
}

const NO_CONTAINER = /\bno such container\b/i;

/** Containers: one request each (https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container). */
export function createContainerCalls(http: EngineHttp): ContainerCalls {
  return {
    async createContainer(spec, { signal } = {}) {
      const { status, value } = await http.json<{ Id: string } & ErrorBody>({
        method: 'POST',
        path: '/containers/create',
        query: { name: spec.name },
        body: toCreateOptions(spec),
        signal,
        accept: [404, 409],
      });
      // Other engines look for the container to join here, and not at the start.
      if (status === 404 && spec.joins !== undefined && NO_CONTAINER.test(value.message ?? '')) {
        throw cannotJoin(value.message ?? '');
      }
      if (status === 404) throw unknownImage(spec.image);
      if (status === 409) throw nameTaken(spec.name);
      return value.Id;
    },

    async startContainer(id, { signal } = {}) {
      const path = `/containers/${segment(id)}/start`;
      const { status, value } = await http.json<ErrorBody | undefined>({
        method: 'POST',
        path,
        signal,
        accept: [400, 404, 409, 500],
      });
      if (status < 400) return;
      const words = value?.message ?? 'no reason given';
      // 404 is a container that is not there, and also its network or mount that is not: ask which.
      if (status === 404 && (await inspect(id)) === undefined) throw noSuchContainer(id);
      if (status === 404 && /\bnetwork \S+ not found/i.test(words)) throw noSuchNetwork(words);
      if (status === 404 && NO_CONTAINER.test(words)) throw cannotJoin(words);
      if (status === 409 && /\bcannot join network\b/i.test(words)) throw cannotJoin(words);
      const failure = fromStatus(status, words, `POST ${path}`);
      throw failure.code === 'internal_error' ? notStartable(words) : failure;
    },

    async watchExit(id, { signal } = {}) {
      const opened = deferred<void>();
      // For this condition the engine sends the headers once it has registered the waiter, long before the exit.
      const exit = http.exchange(
        {
          method: 'POST',
          path: `/containers/${segment(id)}/wait`,
          query: { condition: 'next-exit' },
          signal,
          limit: 'headers',
          accept: [404],
        },
        async (response) => {
          if (response.statusCode === 404) throw noSuchContainer(id);
          opened.resolve();
          return { exitCode: exitCodeOf(await readText(response)) };
        },
      );
      // Also keeps a caller who never looks at `exit` from an unhandled rejection.
      exit.catch((error: unknown) => opened.reject(error));
      await opened.promise;
      return { exit };
    },

    async killContainer(id, signal = 'SIGKILL') {
      await http.json({
        method: 'POST',
        path: `/containers/${segment(id)}/kill`,
        query: { signal },
        // 409 is "not running".
        accept: [404, 409],
      });
    },

    async removeContainer(id) {
      const { status } = await remove(id);
      // Somebody else removes it at this moment: gone is what was asked for, so wait until it is.
      if (status === 409) await waitRemoved(id);
    },

    async updateLimits(id, limits) {
      const { status } = await http.json({
        method: 'POST',
        path: `/containers/${segment(id)}/update`,
        body: toLimits(limits),
        accept: [404],
      });
      if (status === 404) throw noSuchContainer(id);
    },

    inspectContainer: (id) => inspect(id),

    async listContainers(labels) {
      const { value } = await http.json<ListEntry[]>({
        method: 'GET',
        path: '/containers/json',
        query: { all: '1', filters: labelFilter(labels) },
      });
      return value.map(toSummary);
    },

    containerLogs: (id, maxBytes) =>
      http.exchange(
        {
          method: 'GET',
          path: `/containers/${segment(id)}/logs`,
          query: { stdout: '1', stderr: '1' },
          accept: [404],
        },
        async (response) => {
          if (response.statusCode === 404) throw noSuchContainer(id);
          return tailOfLog(response, maxBytes);
        },
      ),

    async exportPath(id, path, { signal } = {}) {
      const opened = deferred<Readable>();
      http
        .exchange(
          {
            method: 'GET',
            path: `/containers/${segment(id)}/archive`,
            query: { path },
            signal,
            limit: 'headers',
          },
          async (response) => {
            opened.resolve(response);
            // The request lives as long as its reader wants it to.
            await finished(response).catch(() => undefined);
          },
        )
        .catch((error: unknown) => opened.reject(error));
      return opened.promise;
    },
  };

  async function inspect(id: string): Promise<ContainerState | undefined> {
    const { status, value } = await http.json<InspectBody>({
      method: 'GET',
      path: `/containers/${segment(id)}/json`,
      accept: [404],
    });
    return status === 404 ? undefined : toState(value);
  }

  function remove(id: string) {
    return http.json({
      method: 'DELETE',
      path: `/containers/${segment(id)}`,
      query: { force: '1', v: '1' },
      accept: [404, 409],
    });
  }

  async function waitRemoved(id: string): Promise<void> {
    await http.exchange(
      {
        method: 'POST',
        path: `/containers/${segment(id)}/wait`,
        query: { condition: 'removed' },
        accept: [404],
      },
      async (response) => {
        await readText(response);
      },
    );
  }
}

/** An engine that is being stopped ends the wait with an error of its own, or with nothing. */
function exitCodeOf(text: string): number {
  const body = (text === '' ? {} : JSON.parse(text)) as { StatusCode?: number; Error?: ErrorBody | null };
  const words = body.Error?.message ?? (body.Error as { Message?: string } | null)?.Message;
  if (typeof body.StatusCode === 'number' && !words) return body.StatusCode;
  throw engineUnavailable(`The container engine stopped waiting for an exit: ${words ?? 'no reason given'}`);
}

interface InspectBody {
  Id: string;
  Name: string;
  State: { Status: string; ExitCode: number; OOMKilled: boolean; Error: string };
  Config: { Labels: Record<string, string> | null };
}

function toState(body: InspectBody): ContainerState {
  const status = toStatus(body.State.Status);
  return {
    id: body.Id,
    name: withoutSlash(body.Name),
    status,
    // A container that could not be started stays `created` with the code that a shell would give (126, 127).
    exitCode: status === 'exited' || status === 'dead' ? body.State.ExitCode : undefined,
    oomKilled: body.State.OOMKilled,
    error: body.State.Error,
    labels: body.Config.Labels ?? {},
  };
}

function toStatus(text: string): ContainerState['status'] {
  return text === 'created' || text === 'running' || text === 'exited' || text === 'dead' ? text : 'other';
}

interface ListEntry {
  Id: string;
  Names: string[];
  Image: string;
  State: string;
  Labels: Record<string, string> | null;
}

function toSummary(entry: ListEntry): ContainerSummary {
  // Links to other containers would be further names with more slashes; the container's own has just one.
  const own = entry.Names.find((name) => name.lastIndexOf('/') === 0) ?? entry.Names[0] ?? '';
  return {
    id: entry.Id,
    name: withoutSlash(own),
    image: entry.Image,
    state: entry.State,
    labels: entry.Labels ?? {},
  };
}

function withoutSlash(name: string): string {
  return name.replace(/^\//, '');
}
