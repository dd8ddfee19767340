import { expect, it } from 'vitest';
import { checkOwnDockerfile } from './own-dockerfile.ts';

const FROM = `ARG RUNTIME_IMAGE\nFROM \${RUNTIME_IMAGE}\n`;

it.each([
  'ADD http://127.0.0.1:8222/functions /function/code/\n',
  'add --chown=1:1 HTTP://169.254.169.254/latest /x',
  'ADD ["https://host/x", "/x"]',
  'ADD ${WHERE} /x',
  'ADD $WHERE /x',
  'ADD git@host:repo /x',
  '  ONBUILD ADD http://h/x /x',
  'AD\\\nD http://h/x /x',
  'ADD \\\n# a comment\n\n  http://h/x \\\n /x',
  'RUN true\r\nADD http://h/x /x\r\n',
  'ADD http:\\//h/x /x',
  'ADD ["http:\\u002f/h/x", "/x"]',
  'ADD "http:"//h/x /x',
  "ADD http:''//h/x /x",
  '\u0085ADD http://h/x /x',
  '\\\nADD http://h/x /x',
])('refuses what the engine itself would fetch: %j', (line) => {
  expect(() => checkOwnDockerfile(FROM + line)).toThrow(/ADD takes files of the function only/);
});

const ANOTHERS = [
  'FROM 0a1b',
  'FROM 12',
  'FROM sha256:0a1b AS x',
  'FROM hf_victim:0123456789abcdef',
  'FROM docker.io/library/hf_victim:0123456789abcdef',
  'FROM worker-front/build-settings:x',
  'FROM "0a1b"',
  'FROM 0a\\1b',
  'FROM ${X:-0a1b}',
  'ARG X=0a1b\nFROM $X',
  'FROM ${RUNTIME_IMAGE}0a',
  'FROM --platform=x\\ debian 0a1b',
  'FROM --platform=linux/arm64 debian',
  'FROM',
  'COPY --from=0a1b /function/code/ /stolen/',
  'copy --chown=1:1 --from=hf_victim:1 / /x',
  'COPY --fr\\om=0a1b / /x',
  'COPY --from="0a1b" / /x',
  'COPY --chown=1\u0085--from=0a1b / /x',
  'COPY \\\n# a comment\n --from=0a1b / /x',
  'ONBUILD COPY --from=0a1b / /x',
  // The engine knows a stage by its name when it is complete, and takes an image until then.
  'FROM debian:x AS ab\nCOPY --from=ab / /x',
  'COPY --from=ab / /x\nFROM debian:x AS ab',
];

it.each(ANOTHERS)('refuses images that may be of another function: %j', (line) => {
  expect(() => checkOwnDockerfile(FROM + line)).toThrow(/image of another function|in options|FROM takes no options/);
});

it('takes stages, given images and others by their full names, and says which stages start from those', () => {
  const text = `ARG RUNTIME_IMAGE
FROM golang:1.22@sha256:${'0'.repeat(64)} AS build
COPY --from=registry.example.com:5000/tools/x:1 /x /x
FROM build AS ab
FROM scratch AS empty
COPY --from=ab --chown=1:1 / /
FROM $RUNTIME_IMAGE
COPY --from=0 --chown=1:1 / /
COPY --from=AB / /
`;
  expect(checkOwnDockerfile(text)).toEqual({ text, bases: [`golang:1.22@sha256:${'0'.repeat(64)}`] });
});

it('gives back what can be read in one way only', () => {
  const text = `# escape=\`x\n# a remark\n${FROM}RUN a \`\n\n # b\n  c \`  \n  d\nRUN \\\n\`\n#x\n`;
  expect(checkOwnDockerfile(text).text).toBe(`# escape=\`\n${FROM}RUN a   c   d\nRUN \\\n`);
});

it.each([' ', '\t', '\\', 'ONBUILD ', '#', '\u0085'])('reads a long row of %j without delay', (part) => {
  const row = part.repeat(250_000 / part.length);
  const text = `${FROM}RUN ${row}x\n${row}x\nCOPY ${row}--from=${row} x\n`;
  const started = performance.now();
  try {
    checkOwnDockerfile(text);
  } catch {
    // Refused or not: it is about the time.
  }
  // What is squared takes minutes.
  expect(performance.now() - started).toBeLessThan(5000);
});

it.each(['ENTRYPOINT ["/bin/sh"]', 'cmd x'])('refuses what would start instead of the runtime: %s', (line) => {
  expect(() => checkOwnDockerfile(FROM + line)).toThrow(/the runtime of the image has to start/);
  expect(() => checkOwnDockerfile(`FROM debian:x\n${line}\n${FROM}`)).not.toThrow();
});

it('understands the escape directive', () => {
  expect(() => checkOwnDockerfile(`# escape=\`\n${FROM}ADD \`\nhttp://h/x /x`)).toThrow();
  expect(() => checkOwnDockerfile(`# escape=\`\n${FROM}RUN echo \\\nADD http://h/x /x`)).toThrow();
});

it.each([
  'ADD data.tar.gz /function/code/',
  'COPY http /x',
  'RUN curl http://host/x',
  'RUN echo \\\nADD http://h/x /x',
  '# ADD http://h/x /x',
  'LABEL source="http://h/x"',
])('takes %j', (line) => {
  expect(() => checkOwnDockerfile(FROM + line)).not.toThrow();
});
