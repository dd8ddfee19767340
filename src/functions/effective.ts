import { createHash } from 'node:crypto';
import { WorkerFrontError } from '../lib/errors.ts';
import type { Isolation, Manifest, Network } from './manifest.ts';

/** The node's settings that a manifest leaves to it, or is bounded by. Bytes, seconds. */
export interface NodeDefaults {
  isolation: Isolation | null;
  usingRestMode: boolean;
  functionTimeout: number;
  functionMemory: number;
  functionCpus: number;
  functionPids: number;
  maxFunctionTimeout: number;
  maxFunctionMemory: number;
  maxFunctionCpus: number;
  functionNetwork: Network;
  tmpLimit: number;
  responseLimit: number;
  logLimit: number;
}

/** How one version of a function runs on this node now: its manifest with the node's settings filled in. */
export interface EffectiveSettings {
  handler: string | undefined;
  isolation: Isolation;
  concurrency: number;
  maxSandboxes: number | undefined;
  timeoutMs: number;
  memoryBytes: number;
  cpus: number;
  pids: number;
  tmpBytes: number;
  network: Network;
  env: Record<string, string>;
  /** Names of secrets by environment variable; never their values. */
  secrets: Record<string, string>;
  prewarm: number;
  responseLimit: number;
  logLimit: number;
  cancelOnDisconnect: boolean;
  /** Differs when anything above differs: sandboxes made for other settings are not used. */
  digest: string;
}

const NARROWNESS: Record<Network, number> = { outbound: 0, public: 1, none: 2 };

/** Rejects with `invalid_function` when the manifest asks for more than the node allows. */
export function effectiveSettings(manifest: Manifest, node: NodeDefaults): EffectiveSettings {
  const timeout = bounded('timeout', manifest.timeout, node.functionTimeout, node.maxFunctionTimeout, 's');
  const memoryBytes = bounded('memory', manifest.memoryBytes, node.functionMemory, node.maxFunctionMemory, ' bytes');
  const settings = {
    handler: manifest.handler,
    isolation: manifest.isolation ?? node.isolation ?? (node.usingRestMode ? 'process' : 'container'),
    concurrency: manifest.concurrency ?? 1,
    maxSandboxes: manifest.maxSandboxes,
    timeoutMs: Math.round(timeout * 1000),
    memoryBytes,
    cpus: bounded('cpus', manifest.cpus, node.functionCpus, node.maxFunctionCpus, ''),
    pids: node.functionPids,
    tmpBytes: Math.min(node.tmpLimit, Math.floor(memoryBytes / 4)),
    network: narrower(manifest.network, node.functionNetwork),
    env: manifest.env ?? {},
    secrets: manifest.secrets ?? {},
    prewarm: manifest.prewarm ?? 0,
    responseLimit: node.responseLimit,
    logLimit: node.logLimit,
    cancelOnDisconnect: manifest.cancelOnDisconnect ?? false,
  } as const;
  return { ...settings, digest: createHash('sha256').update(JSON.stringify(settings)).digest('hex').slice(0, 16) };
}

function bounded(key: string, asked: number | undefined, standard: number, most: number, unit: string): number {
  if (asked === undefined) return Math.min(standard, most);
  if (asked <= most) return asked;
  throw new WorkerFrontError(
    'invalid_function',
    `config.json: ${key}: ${asked}${unit} is more than this node allows (${most}${unit})`,
    { details: { file: 'config.json', key } },
  );
}

function narrower(asked: Network | undefined, node: Network): Network {
  if (asked === undefined || NARROWNESS[asked] < NARROWNESS[node]) return node;
  return asked;
}
