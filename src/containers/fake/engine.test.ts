import { describeEngine } from '../../../test/conformance/engine.ts';
import { fakeBuilds, fakeHostCommands, fakePrograms } from '../../../test/conformance/engine-fixtures.ts';
import { createFakeEngine } from './engine.ts';

const connect = () =>
  createFakeEngine({
    images: ['base:1'],
    onStart: fakePrograms,
    onBuild: fakeBuilds,
    onHostCommand: fakeHostCommands,
  });

describeEngine('the fake engine', async () => {
  const engine = connect();
  return { engine, image: 'base:1', labels: { suite: 'fake' }, connect, close: () => engine.close() };
});
