// What `service.deploy` runs once two people have approved it: it says what it would do, and touches nothing.
const [service, version] = process.argv.slice(2);
console.log(`would deploy ${service} ${version}`);
