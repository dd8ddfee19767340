'use strict';
/* oxlint-disable no-restricted-properties -- a function's code reads its environment */
// The behaviours of ../../bootstrap.ts, chosen by the event's `do`.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const { setTimeout: sleep } = require('node:timers/promises');

const forever = () => new Promise(() => setInterval(() => {}, 60_000));
let count = 0;

exports.handle = (event, context) => behaviours[event.do](event, context);

const behaviours = {
  echo: ({ value }) => value,
  context: ({ env }, context) => ({
    id: context.awsRequestId,
    function: context.functionName,
    version: context.functionVersion,
    memoryMB: Number(context.memoryLimitInMB),
    remainingMs: context.getRemainingTimeInMillis(),
    cwd: process.cwd(),
    env: process.env[env] ?? null,
  }),
  fail: ({ message }) => deep(message),
  exit: ({ code }) => {
    console.log('leaving');
    process.exit(code);
  },
  print: ({ stdout, stderr }) => {
    process.stdout.write(stdout);
    process.stderr.write(stderr);
  },
  lines: ({ count: lines }) => {
    for (let line = 0; line < lines; line++) console.log(`line ${line}`);
    return lines;
  },
  native: ({ text }) => {
    fs.writeSync(1, text);
  },
  child: ({ command }) => spawnSync('/bin/sh', ['-c', command], { stdio: 'inherit' }).status,
  stdin: () => fs.readFileSync(0, 'utf8'),
  hang: () => {
    console.log('hanging');
    return forever();
  },
  tidy: () => {
    process.once('SIGTERM', () => {
      fs.writeSync(1, 'tidied\n');
      process.exit(0);
    });
    console.log('working');
    return forever();
  },
  deaf: () => {
    process.on('SIGTERM', () => {});
    console.log('deaf');
    return forever();
  },
  spin: () => {
    console.log('spinning');
    for (;;);
  },
  sleep: async ({ ms, value }) => {
    console.log(`begin ${value}`);
    await sleep(ms);
    console.log(`end ${value}`);
    return value;
  },
  link: ({ base64 }) => {
    fs.writeSync(3, Buffer.from(base64, 'base64'));
  },
  closeLink: () => {
    fs.closeSync(3);
    return forever();
  },
  unwritable: () => ({ value: 1n }),
  big: ({ bytes }) => 'x'.repeat(bytes),
  memory: () => {
    const kept = [];
    for (;;) kept.push(Array.from({ length: 100_000 }, () => kept.length));
  },
  state: ({ name }) => {
    const tmp = process.env.WORKER_FRONT_TMP ?? '/tmp';
    const before = { left: process.env.LEFT ?? null, files: fs.readdirSync(tmp) };
    process.env.LEFT = name;
    fs.writeFileSync(`${tmp}/${name}`, '');
    return { count: ++count, pid: process.pid, ...before };
  },
};

function deep(message) {
  throw new TypeError(message);
}
