console.log('importing');
throw new TypeError('thrown while importing');
