import { describe, expect, it } from 'vitest';
import { hasCode } from '../../lib/errors.ts';
import { type DockerHostSettings, parseDockerHost } from './connection.ts';

const files = { ca: '/certs/ca.pem', cert: '/certs/cert.pem', key: '/certs/key.pem' };

describe('parseDockerHost', () => {
  it.each<[string, DockerHostSettings, object]>([
    ['nothing', {}, { kind: 'unix', socketPath: '/var/run/docker.sock' }],
    ['blanks', { host: '  ' }, { kind: 'unix', socketPath: '/var/run/docker.sock' }],
    ['unix:// alone', { host: 'unix://' }, { kind: 'unix', socketPath: '/var/run/docker.sock' }],
    [
      'a rootless socket',
      { host: 'unix:///run/user/1000/docker.sock' },
      { kind: 'unix', socketPath: '/run/user/1000/docker.sock' },
    ],
    ['tcp', { host: 'tcp://10.0.0.5:2375' }, { kind: 'tcp', host: '10.0.0.5', port: 2375, tls: undefined }],
    ['tcp without a port', { host: 'tcp://engine' }, { kind: 'tcp', host: 'engine', port: 2375, tls: undefined }],
    ['no scheme', { host: 'localhost:4243' }, { kind: 'tcp', host: 'localhost', port: 4243, tls: undefined }],
    ['IPv6', { host: 'tcp://[::1]:2375' }, { kind: 'tcp', host: '::1', port: 2375, tls: undefined }],
    ['port 80', { host: 'tcp://engine:80/' }, { kind: 'tcp', host: 'engine', port: 80, tls: undefined }],
    ['https', { host: 'https://engine' }, { kind: 'tcp', host: 'engine', port: 2376, tls: 'system' }],
    [
      'TLS by DOCKER_TLS_VERIFY',
      { host: 'tcp://engine', tlsVerify: '1', certPath: '/certs' },
      { kind: 'tcp', host: 'engine', port: 2376, tls: files },
    ],
    [
      "TLS with the Docker client's own folder",
      { host: 'tcp://engine:1', tlsVerify: '1', homeDir: '/home/me' },
      {
        kind: 'tcp',
        host: 'engine',
        port: 1,
        tls: { ca: '/home/me/.docker/ca.pem', cert: '/home/me/.docker/cert.pem', key: '/home/me/.docker/key.pem' },
      },
    ],
    [
      'certificates without TLS switched on, which the Docker client ignores too',
      { host: 'tcp://engine:1', certPath: '/certs' },
      { kind: 'tcp', host: 'engine', port: 1, tls: undefined },
    ],
  ])('reads %s', (_, settings, expected) => {
    expect(parseDockerHost(settings)).toEqual(expected);
  });

  it.each([
    ['ssh://me@host', 'ssh:// is not supported'],
    ['npipe:////./pipe/docker_engine', 'npipe:// (Windows) is not supported'],
    ['fd://', 'use unix:///path/to/docker.sock or tcp://host:port'],
    ['unix://relative.sock', 'absolute path'],
    ['/var/run/docker.sock', 'write unix:///var/run/docker.sock'],
    ['tcp://', 'use tcp://host:port'],
    ['tcp://host:99999', 'use tcp://host:port'],
    ['tcp://user:secret@host:1', 'without user'],
    ['tcp://host:1/path', 'without user, path or query'],
  ])('refuses %s and says what to write', (host, advice) => {
    let error: unknown;
    try {
      parseDockerHost({ host });
    } catch (thrown) {
      error = thrown;
    }
    expect(hasCode(error, 'invalid_setting')).toBe(true);
    expect(String(error)).toContain(advice);
    expect(String(error)).not.toContain('secret');
  });
});
