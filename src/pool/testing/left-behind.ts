import { RECORD_FORMAT, type SandboxRecord } from '../sandbox-records.ts';

/** A record of a stem, with the wanted differences. */
export function recordOf(more: Partial<SandboxRecord>): SandboxRecord {
  return {
    format: RECORD_FORMAT,
    id: '00000000000000aa',
    token: 'ab'.repeat(32),
    containerId: 'c1',
    containerName: 'hf_stem-python3.11__00001_00002',
    imageName: '',
    image: 'worker-front/python3.11:0123456789ab',
    functionDir: '6f8f57c3-9a2c-4c9d-9a53-2f7d2a9c1f00',
    container: {
      environment: 'python3.11',
      limits: { memoryBytes: 100 * 2 ** 20, cpus: 1, pids: 64 },
      tmpBytes: 2 ** 20,
      network: 'none',
    },
    memoryBytes: 100 * 2 ** 20,
    specDigest: 'd',
    ...more,
  };
}
