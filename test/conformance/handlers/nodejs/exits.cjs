console.log('going');
process.exit(7);
