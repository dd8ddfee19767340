'use strict';
// The Node.js runtime of a sandbox (docs/protocol.md, "On the link"). Init starts it with the link as descriptor 3:
//   node --max-old-space-size=65536 --no-short-builtin-calls /opt/worker-front/bootstrap.cjs
// Node.js fixes the heap limit at boot, when the memory of the function is not known yet; so the limit is the
// sandbox's own (the kernel ends the process, which is counted), and followMemory keeps garbage small instead.
// With so high a limit V8 takes the machine for a large one and copies its builtins (1.6 MB) into every process, which no
// process with a limit below 2 GB does: not here either.

const { createLink } = require('./link.cjs');
const { blockingOutput } = require('./output.cjs');
const { describeError } = require('./errors.cjs');
const { runInvocation } = require('./invocation.cjs');

const FUNCTION_DIR = process.env.WORKER_FRONT_FUNCTION_DIR || '/function';
const MIB = 1024 * 1024;

const running = new Map();
let settings = null;
let handler = null;
let loading = false;
/** Tells which invocation a piece of code belongs to; only with a concurrency above 1. */
let currentInvocation = () => undefined;
let enterInvocation = (_invocation, call) => call();

blockingOutput();
const link = createLink(3, { frame: onFrame, end: () => process.reallyExit(0), broken: onBroken });
process.on('uncaughtException', onUncaught);
link.send({ type: 'hello', environment: `nodejs${process.versions.node.split('.')[0]}` });
rehearse();

/** Loads and compiles what the first function and its first call need, by a call of nothing: neither has to wait for it then. */
function rehearse() {
  require('node:v8');
  require('./handler.cjs');
  runInvocation({
    invocation: {},
    header: { id: '', deadlineMs: 0 },
    body: Buffer.from('{}'),
    handler: async (event) => event,
    settings: { memoryBytes: 0, resultLimit: 2, concurrency: 1 },
    link: null,
    finish() {},
  });
}

function onFrame(header, body) {
  switch (header.type) {
    case 'load':
      void load(header);
      break;
    case 'start':
      start(header, body);
      break;
    case 'stop':
      process.reallyExit(0);
      break;
    default:
      onBroken(`a frame of unknown type ${header.type}`);
  }
}

function onBroken(what) {
  process.stderr.write(`worker-front: the link sent ${what}\n`);
  process.reallyExit(70);
}

async function load(header) {
  settings = header;
  loading = true;
  try {
    Object.assign(process.env, header.env);
    followMemory(header.memoryBytes);
    if (header.concurrency > 1) tieOutput();
    const codeDir = `${FUNCTION_DIR}/code`;
    process.chdir(codeDir);
    handler = await require('./handler.cjs').loadHandler(codeDir, header.handler);
    if (!loading) return;
    loading = false;
    link.send({ type: 'ready' });
  } catch (error) {
    loadFailed(error);
  }
}

function loadFailed(error) {
  if (!loading) return;
  loading = false;
  link.send({ type: 'failed', id: null, ...describeError(error) });
}

function start(header, body) {
  const invocation = { id: header.id, fail: null };
  running.set(header.id, invocation);
  const finish = (frame, result) => {
    if (!running.delete(header.id)) return;
    link.send({ ...frame, id: header.id }, result);
  };
  enterInvocation(invocation, () => runInvocation({ invocation, header, body, handler, settings, link, finish }));
}

/** Fails the invocation that threw outside its promise. Idle code that throws is logged: what runs next is not its doing. */
function onUncaught(error) {
  // A listener of the function's own means that it handles such errors itself, as anywhere in Node.js.
  if (process.listenerCount('uncaughtException') > 1) return;
  if (loading) return loadFailed(error);
  const current = currentInvocation();
  const failed = current ? [current] : [...running.values()];
  for (const invocation of failed) invocation.fail?.(error);
  if (failed.length === 0) console.error(error);
}

/**
 * Makes V8 collect garbage in the measure of the sandbox's memory: a heap grows to at most this many percent over what
 * survived the last collection (V8 takes 300 on a large heap). Measured with 256 MiB: what fits, and its speed, are as
 * with a fixed limit of 190 MB; without it, parsing JSON of 1 MB again and again dies.
 */
function followMemory(memoryBytes) {
  require('node:v8').setFlagsFromString(`--heap-growing-percent=${memoryBytes > 1024 * MIB ? 50 : 30}`);
}

function tieOutput() {
  const { AsyncLocalStorage } = require('node:async_hooks');
  const storage = new AsyncLocalStorage();
  currentInvocation = () => storage.getStore();
  enterInvocation = (invocation, call) => storage.run(invocation, call);
  require('./output.cjs').tieOutput(() => {
    const invocation = storage.getStore();
    return running.has(invocation?.id) ? invocation.id : null;
  }, link);
}
