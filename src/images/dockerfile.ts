import type { InstallFacts, Language } from './bundle-facts.ts';

/** Images that a generated Dockerfile starts from. */
export interface SourceImages {
  runtime: string;
  /** Needed when there is something to install. */
  build: string;
}

/** The Dockerfile of a function with nothing to install (left): its code on the runtime image, or on its dependencies. */
export function codeDockerfile(from: string): string {
  return lines(`FROM ${from}`, 'COPY code/ /function/code/');
}

/**
 * The Dockerfile of a dependency image: what a package manager made of `install.files`, and nothing else, on the
 * runtime image. Functions and versions with the same files share it.
 */
export function dependenciesDockerfile(language: 'python' | 'nodejs', install: InstallFacts, images: SourceImages) {
  return lines(
    `FROM ${images.build} AS install`,
    'COPY settings/ /build/settings/',
    'COPY code/ /function/code/',
    'WORKDIR /function/code',
    ...INSTALL[language](install),
    `FROM ${images.runtime}`,
    ...RESULT[language],
  );
}

/**
 * The Dockerfile of a function whose installation needs its code: local packages, scripts of its own, or sources to
 * compile.
 */
export function compiledDockerfile(language: Language, install: InstallFacts, images: SourceImages): string {
  return lines(
    ...(language === 'java' ? [`FROM ${images.runtime} AS runtime`] : []),
    `FROM ${images.build} AS install`,
    ...(language === 'java'
      ? ['COPY --from=runtime /opt/worker-front/ /opt/worker-front/']
      : ['COPY settings/ /build/settings/']),
    'COPY code/ /function/code/',
    'WORKDIR /function/code',
    ...INSTALL[language](install),
    `FROM ${images.runtime}`,
    // What npm leaves beside node_modules belongs to the code: links to local packages, output of scripts.
    ...(language === 'nodejs'
      ? ['COPY --from=install /function/code/ /function/code/']
      : [...RESULT[language], 'COPY code/ /function/code/']),
  );
}

/**
 * The Dockerfile with labels on its last image. As a line of their own they cost the classic builder 70 ms, as an
 * option of the build 300. Values must need no quoting: digits, letters, `_`, `-`, `.`.
 */
export function withLabels(dockerfile: string, labels: Record<string, string>): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${value}"`);
  return `${dockerfile}LABEL ${pairs.join(' ')}\n`;
}

const NPM_OPTIONS = '--omit=dev --no-audit --no-fund --no-update-notifier --cache /tmp/npm';
const PIP_OPTIONS = '--no-cache-dir --disable-pip-version-check --root-user-action=ignore --no-warn-script-location';

const INSTALL: Record<Language, (install: InstallFacts) => string[]> = {
  python: () => [
    `RUN mkdir -p /function/python && /build/with-settings python3 -m pip install ${PIP_OPTIONS} --target /function/python -r requirements.txt`,
  ],
  nodejs: ({ locked }) => [
    `RUN /build/with-settings npm ${locked ? 'ci' : 'install'} ${NPM_OPTIONS} && mkdir -p node_modules`,
  ],
  java: () => [
    "RUN find . -name '*.java' > /tmp/sources && mkdir -p /function/classes" +
      " && javac -encoding UTF-8 -g -nowarn -cp '/function/code:/function/code/*:/function/code/lib/*:/opt/worker-front/*'" +
      ' -d /function/classes @/tmp/sources',
  ],
};

const RESULT: Record<Language, string[]> = {
  python: ['COPY --from=install /function/python/ /function/python/'],
  nodejs: ['COPY --from=install /function/code/node_modules/ /function/node_modules/'],
  java: ['COPY --from=install /function/classes/ /function/classes/'],
};

function lines(...all: string[]): string {
  return `${all.join('\n')}\n`;
}
