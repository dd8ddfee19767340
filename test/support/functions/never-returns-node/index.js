exports.handle = () => {
  console.log('started');
  for (;;);
};
