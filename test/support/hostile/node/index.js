'use strict';
// As ../python/main.py: `{try: [names]}` answers what came of each attempt.

const fs = require('node:fs');
const net = require('node:net');

const outcome = async (attempt) => {
  try {
    return (await attempt()) ?? 'done';
  } catch (error) {
    return error.code ?? String(error);
  }
};

const FOLDER = '/run/worker-front';
const append = (path) => fs.appendFileSync(path, '\n');
const WAYS = {
  'memory file': (pid) => fs.closeSync(fs.openSync(`/proc/${pid}/mem`, 'r+')),
  environment: (pid) => void fs.readFileSync(`/proc/${pid}/environ`),
  map: (pid) => void fs.readFileSync(`/proc/${pid}/maps`),
  descriptors: (pid) => void fs.readdirSync(`/proc/${pid}/fd`),
  'root folder': (pid) => void fs.readdirSync(`/proc/${pid}/root`),
};

async function allWays(pid) {
  const found = {};
  for (const [name, way] of Object.entries(WAYS)) found[name] = await outcome(() => way(pid));
  return found;
}

async function others() {
  const found = {};
  for (const name of fs.readdirSync('/proc')) {
    if (!/^\d+$/.test(name) || name === '1' || Number(name) === process.pid) continue;
    for (const [way, result] of Object.entries(await allWays(name))) if (result === 'done') found[way] = result;
  }
  return found;
}

const waiting = () =>
  fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name) && name !== '1' && Number(name) !== process.pid).length;

const dial = () =>
  new Promise((resolve, reject) => {
    const socket = net.connect(`${FOLDER}/channel.sock`);
    socket.once('connect', () => socket.destroy(resolve('done'))).once('error', reject);
  });

function frame(header, body) {
  const head = Buffer.from(JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeUInt32LE(head.length, 0);
  prefix.writeUInt32LE(body.length, 4);
  return Buffer.concat([prefix, head, Buffer.from(body)]);
}

const ATTEMPTS = {
  'root: setuid': () => process.setuid(0),
  'root: setgroups': () => process.setgroups([0]),
  'code: append': () => append('/function/code/index.js'),
  'runtime: append': () => append('/opt/worker-front/bootstrap.cjs'),
  'channel: dial the daemon': dial,
  'channel: new file': () => append(`${FOLDER}/new`),
  'memory: of init': () => allWays(1),
  "memory: of the runtime's other processes": others,
  'processes: that wait': waiting,
};

exports.handle = async (event, context) => {
  if (event.do === 'done-twice') {
    const id = context.awsRequestId;
    for (const body of ['"first"', '"second"']) fs.writeSync(3, frame({ type: 'done', id, durationMs: 1 }, body));
    return 'third';
  }
  if (!event.try) return event;
  const found = {};
  for (const name of event.try) found[name] = await outcome(ATTEMPTS[name]);
  return found;
};
