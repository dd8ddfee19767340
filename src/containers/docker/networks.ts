import { WorkerFrontError } from '../../lib/errors.ts';
import type { ContainerEngine, NetworkSpec } from '../engine.ts';
import { inUse } from '../engine-errors.ts';
import { type EngineHttp, labelFilter, segment } from './http.ts';

export type NetworkCalls = Pick<ContainerEngine, 'ensureNetwork' | 'removeNetwork' | 'listNetworks'>;

const ICC = 'com.docker.network.bridge.enable_icc';
const BRIDGE = 'com.docker.network.bridge.name';

/** Networks (https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Network). */
export function createNetworkCalls(http: EngineHttp): NetworkCalls {
  return {
    async ensureNetwork(spec) {
      const options = bridgeOptions(spec);
      // Create first: of two who ask at the same time both could find nothing. The engine says 409 to the second one,
      // or 403, when it has only the first one's interface to go by yet.
      const { status, value } = await http.json<{ Id: string; message: string }>({
        method: 'POST',
        path: '/networks/create',
        body: {
          Name: spec.name,
          CheckDuplicate: true,
          Driver: 'bridge',
          EnableIPv6: false,
          Options: options,
          Labels: spec.labels,
        },
        accept: [403, 409],
      });
      if (status < 400) return value.Id;
      const existing = await http.json<NetworkBody>({
        method: 'GET',
        path: `/networks/${segment(spec.name)}`,
        accept: [404],
      });
      if (existing.status === 404) throw taken(spec, value.message);
      checkOptions(spec, existing.value, options);
      return existing.value.Id;
    },

    async removeNetwork(name) {
      const { status } = await http.json({
        method: 'DELETE',
        path: `/networks/${segment(name)}`,
        accept: [403, 404, 409],
      });
      if (status === 403 || status === 409) throw inUse(`The network '${name}'`);
    },

    async listNetworks(labels) {
      const { value } = await http.json<{ Name: string }[]>({
        method: 'GET',
        path: '/networks',
        query: { filters: labelFilter(labels) },
      });
      return value.map((network) => network.Name);
    },
  };
}

interface NetworkBody {
  Id: string;
  Driver: string;
  Options: Record<string, string> | null;
}

function bridgeOptions(spec: NetworkSpec): Record<string, string> {
  // The kernel cuts nothing here, it refuses: IFNAMSIZ is 16 with the closing zero.
  if (!/^[A-Za-z0-9_.-]{1,15}$/.test(spec.bridgeName)) {
    throw new WorkerFrontError('internal_error', `'${spec.bridgeName}' is no interface name of at most 15 characters.`);
  }
  return { [BRIDGE]: spec.bridgeName, [ICC]: String(spec.interContainer) };
}

/** The interface belongs to a network of another name. */
function taken(spec: NetworkSpec, words: string): WorkerFrontError {
  return new WorkerFrontError('conflict', `The network '${spec.name}' can't be made: ${words}`, {
    details: { network: spec.name, bridge: spec.bridgeName },
  });
}

/** A network of the same name made by somebody else, or by an older version, may lack the walls that are asked for. */
function checkOptions(spec: NetworkSpec, existing: NetworkBody, wanted: Record<string, string>): void {
  const different = Object.keys(wanted).find((key) => existing.Options?.[key] !== wanted[key]);
  if (existing.Driver === 'bridge' && different === undefined) return;
  throw new WorkerFrontError(
    'conflict',
    `The network '${spec.name}' is there with other settings. Remove it: docker network rm ${spec.name}`,
    { details: { network: spec.name, setting: different ?? 'driver' } },
  );
}
