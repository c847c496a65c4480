// A real OTLP backend on free ports of this machine: what it received, one JSON document a line.
'use strict';
const {MockOtlpServer, normalizeMetrics, normalizeTrace} = require('@elastic/mockotlpserver');

// Whole numbers of 64 bits are texts, however the protocol's library holds them.
const plain = (_, value) => {
    if (typeof value === 'bigint') return String(value);
    const isLong = value !== null && typeof value === 'object' && 'low' in value && 'high' in value;
    return isLong ? String((BigInt(value.high >>> 0) << 32n) | BigInt(value.low >>> 0)) : value;
};
const tell = (kind, value) => process.stdout.write(JSON.stringify({[kind]: value}, plain) + '\n');

const server = new MockOtlpServer({
    logLevel: 'fatal',
    services: ['http', 'grpc'],
    httpHostname: '127.0.0.1',
    httpPort: 0,
    grpcHostname: '127.0.0.1',
    grpcPort: 0,
    onTrace: (trace) => tell('traces', normalizeTrace(trace)),
    onMetrics: (metrics) => tell('metrics', normalizeMetrics(metrics)),
    onRequest: (request) => tell('request', request),
});
server.start().then(() => tell('listening', {http: server.httpUrl, grpc: server.grpcUrl}));
process.stdin.on('end', () => process.exit(0)).resume();
