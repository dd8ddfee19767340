import { describe, expect, it } from 'vitest';
import { codeDockerfile, compiledDockerfile, dependenciesDockerfile } from './dockerfile.ts';

const images = { runtime: 'runtime:1', build: 'build:1' };
const some = { files: ['x'], locked: false };
const all = { files: undefined, locked: false };

describe('codeDockerfile', () => {
  it('is minimal', () => {
    expect(codeDockerfile('runtime:1')).toBe('FROM runtime:1\nCOPY code/ /function/code/\n');
  });
});

describe('dependenciesDockerfile', () => {
  it('Python', () => {
    expect(dependenciesDockerfile('python', some, images)).toBe(`FROM build:1 AS install
COPY settings/ /build/settings/
COPY code/ /function/code/
WORKDIR /function/code
RUN mkdir -p /function/python && /build/with-settings python3 -m pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore --no-warn-script-location --target /function/python -r requirements.txt
FROM runtime:1
COPY --from=install /function/python/ /function/python/
`);
  });

  it('Node.js', () => {
    expect(dependenciesDockerfile('nodejs', some, images)).toBe(`FROM build:1 AS install
COPY settings/ /build/settings/
COPY code/ /function/code/
WORKDIR /function/code
RUN /build/with-settings npm install --omit=dev --no-audit --no-fund --no-update-notifier --cache /tmp/npm && mkdir -p node_modules
FROM runtime:1
COPY --from=install /function/code/node_modules/ /function/node_modules/
`);
  });

  it('Node.js with a lock file', () => {
    expect(dependenciesDockerfile('nodejs', { ...some, locked: true }, images)).toContain(
      'with-settings npm ci --omit=dev',
    );
  });
});

describe('compiledDockerfile', () => {
  it('Java compiles against what the runtime has, and keeps compiler and settings out', () => {
    expect(compiledDockerfile('java', all, images)).toBe(`FROM runtime:1 AS runtime
FROM build:1 AS install
COPY --from=runtime /opt/worker-front/ /opt/worker-front/
COPY code/ /function/code/
WORKDIR /function/code
RUN find . -name '*.java' > /tmp/sources && mkdir -p /function/classes && javac -encoding UTF-8 -g -nowarn -cp '/function/code:/function/code/*:/function/code/lib/*:/opt/worker-front/*' -d /function/classes @/tmp/sources
FROM runtime:1
COPY --from=install /function/classes/ /function/classes/
COPY code/ /function/code/
`);
  });

  it('Python with local packages', () => {
    const text = compiledDockerfile('python', all, images);
    expect(text.split('FROM runtime:1\n')[1]).toBe(
      'COPY --from=install /function/python/ /function/python/\nCOPY code/ /function/code/\n',
    );
  });

  it('Node.js with local packages takes the code folder as npm left it', () => {
    const text = compiledDockerfile('nodejs', all, images);
    expect(text.split('FROM runtime:1\n')[1]).toBe('COPY --from=install /function/code/ /function/code/\n');
  });

  it.each(['python', 'nodejs', 'java'] as const)('%s: settings only before the last stage', (language) => {
    const text = compiledDockerfile(language, all, images);
    expect(text.slice(text.lastIndexOf('FROM '))).not.toContain('settings');
  });
});
