import type { ContainerEngine, HostCommand } from '../engine.ts';
import { unknownImage } from '../engine-errors.ts';
import type { ContainerCalls } from './containers.ts';
import type { EngineHttp } from './http.ts';

const MEMORY = 256 * 2 ** 20;

/** Body of `POST /containers/create` for a command in the machine's network. Pure. */
export function toHostCommandOptions(command: HostCommand) {
  const [program = '', ...args] = command.command;
  return {
    Image: command.image,
    User: '0:0',
    Entrypoint: [program],
    Cmd: args,
    Env: [],
    Labels: command.labels,
    Healthcheck: { Test: ['NONE'] },
    HostConfig: {
      NetworkMode: 'host',
      // Where the engine maps users: the machine's network belongs to the machine's root.
      UsernsMode: 'host',
      CapDrop: ['ALL'],
      CapAdd: ['NET_ADMIN', 'NET_RAW'],
      SecurityOpt: ['no-new-privileges:true'],
      ReadonlyRootfs: true,
      // The lock of iptables-legacy.
      Tmpfs: { '/run': 'rw,nosuid,nodev,noexec,size=65536' },
      Memory: MEMORY,
      MemorySwap: MEMORY,
      PidsLimit: 64,
      RestartPolicy: { Name: 'no' },
      LogConfig: { Type: 'json-file', Config: { 'max-size': '32m', 'max-file': '1' } },
    },
  };
}

/** One command in the machine's network: create, start, wait, read, remove. */
export function createHostCommands(
  http: EngineHttp,
  containers: ContainerCalls,
): Pick<ContainerEngine, 'runOnHostNetwork'> {
  /** Containers that could not be removed: an engine that went away has kept them. */
  const kept = new Set<string>();
  const remove = async (id: string) => {
    kept.add(id);
    await containers.removeContainer(id);
    kept.delete(id);
  };
  return {
    async runOnHostNetwork(command, { signal } = {}) {
      // Whatever hinders that is told by the command itself, or does not hinder it.
      for (const id of kept) await remove(id).catch(() => undefined);
      const { status, value } = await http.json<{ Id: string }>({
        method: 'POST',
        path: '/containers/create',
        body: toHostCommandOptions(command),
        signal,
        accept: [404],
      });
      if (status === 404) throw unknownImage(command.image);
      const id = value.Id;
      try {
        const { exit } = await containers.watchExit(id, { signal });
        await containers.startContainer(id, { signal });
        const { exitCode } = await exit;
        return { exitCode, output: await containers.containerLogs(id, command.maxOutputBytes) };
      } finally {
        await remove(id);
      }
    },
  };
}
