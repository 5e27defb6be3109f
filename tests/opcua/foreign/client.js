// Steps that a test asks of node-opcua, one JSON object a line on standard input; what came of each as one line on standard output.
//   node client.js URL FOLDER     FOLDER holds client.pem and client-key.pem
"use strict";
const readline = require("node:readline");
const o = require("node-opcua-client");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");
const { promoteOpaqueStructure } = require("node-opcua-client-dynamic-extension-object");

const [url, folder] = process.argv.slice(2);
const STANDARD = "http://opcfoundation.org/UA/MachineVision";
const OWN = "urn:inspector:machine-vision";
let client, session, own, standard, subscription;
const events = [];

function open(mode, policy) {
    return o.OPCUAClient.create({
        applicationName: "foreign client",
        applicationUri: "urn:inspector:opcua:client",
        securityMode: o.MessageSecurityMode[mode || "SignAndEncrypt"],
        securityPolicy: o.SecurityPolicy[policy || "Basic256Sha256"],
        certificateFile: `${folder}/client.pem`,
        privateKeyFile: `${folder}/client-key.pem`,
        clientCertificateManager: new OPCUACertificateManager({
            rootFolder: `${folder}/pki`,
            automaticallyAcceptUnknownCertificate: true,
        }),
        endpointMustExist: false,
        keepSessionAlive: true,
        connectionStrategy: { maxRetry: 0, initialDelay: 100 },
    });
}

// What JSON cannot say: 64-bit numbers come as [high, low], NaN as null.
function plain(value) {
    return JSON.parse(JSON.stringify(value, (_, one) => (typeof one === "bigint" ? Number(one) : one)));
}

// Fields of an event, with the structures in them decoded by what the server says of their types.
async function shown(variants) {
    const all = variants.flatMap((v) => [v, ...(v.dataType === o.DataType.Variant ? v.value : [])]);
    await promoteOpaqueStructure(session, all.map((value) => ({ value })));
    return variants.map((v) => plain(v.value));
}

async function structure(type, fields) {
    return await session.constructExtensionObject(o.resolveNodeId(`ns=${standard};i=${type}`), fields);
}

const steps = {
    async endpoints() {
        const found = open("None", "None");
        await found.connect(url);
        const endpoints = await found.getEndpoints();
        await found.disconnect();
        return endpoints.map((e) => ({
            mode: o.MessageSecurityMode[e.securityMode],
            policy: e.securityPolicyUri.split("#")[1],
            tokens: e.userIdentityTokens.map((t) => o.UserTokenType[t.tokenType]),
        }));
    },
    async login({ user, password, mode, policy }) {
        client = open(mode, policy);
        await client.connect(url);
        const identity = user
            ? { type: o.UserTokenType.UserName, userName: user, password }
            : { type: o.UserTokenType.Anonymous };
        session = await client.createSession(identity);
        const names = await session.readNamespaceArray();
        own = names.indexOf(OWN);
        standard = names.indexOf(STANDARD);
        return { own, standard };
    },
    async browse({ node }) {
        const found = await session.browse({
            nodeId: node.replace("own:", `ns=${own};s=`),
            referenceTypeId: "HierarchicalReferences",
            includeSubtypes: true,
            browseDirection: o.BrowseDirection.Forward,
            resultMask: 63,
        });
        return found.references.map((r) => r.browseName.name).sort();
    },
    async type({ node }) {
        const found = await session.browse({
            nodeId: `ns=${own};s=${node}`,
            referenceTypeId: "HasTypeDefinition",
            browseDirection: o.BrowseDirection.Forward,
            resultMask: 63,
        });
        return found.references.map((r) => ({ name: r.browseName.name, id: r.nodeId.toString() }))[0];
    },
    async read({ node }) {
        const value = await session.read({ nodeId: `ns=${own};s=${node}`, attributeId: o.AttributeIds.Value });
        return { status: value.statusCode.name, value: plain(value.value.value) };
    },
    async write({ node }) {
        const code = await session.write({
            nodeId: `ns=${own};s=${node}`,
            attributeId: o.AttributeIds.Value,
            value: { value: { dataType: o.DataType.LocalizedText, value: o.coerceLocalizedText("x") } },
        });
        return code.name;
    },
    // Arguments are ["Int32", 3] or [number of a structure's type, its fields].
    async call({ object, method, args }) {
        const inputArguments = [];
        for (const [type, value] of args || []) {
            if (typeof type === "number") {
                inputArguments.push({ dataType: o.DataType.ExtensionObject, value: await structure(type, value) });
            } else if (value === null) {
                inputArguments.push({ dataType: o.DataType.Null });
            } else {
                inputArguments.push({ dataType: o.DataType[type], value });
            }
        }
        const result = await session.call({
            objectId: `ns=${own};s=${object}`,
            methodId: `ns=${own};s=${object}.${method}`,
            inputArguments,
        });
        return { status: result.statusCode.name, outputs: (result.outputArguments || []).map((v) => plain(v.value)) };
    },
    async subscribe({ node, fields, type }) {
        subscription = await session.createSubscription2({
            requestedPublishingInterval: 100,
            requestedLifetimeCount: 600,
            requestedMaxKeepAliveCount: 20,
            publishingEnabled: true,
        });
        const paths = fields.map((f) => (f.startsWith("0:") ? f.slice(2) : `${standard}:${f}`));
        const filter = o.constructEventFilter(paths, type ? o.ofType(`ns=${standard};i=${type}`) : undefined);
        const item = await subscription.monitor(
            { nodeId: node === "Server" ? o.resolveNodeId("Server") : `ns=${own};s=${node}`, attributeId: o.AttributeIds.EventNotifier },
            { filter, queueSize: 1000, discardOldest: true },
            o.TimestampsToReturn.Both,
        );
        item.on("changed", async (values) => events.push(await shown(values)));
        return item.statusCode.name;
    },
    // Waits until so many events have come.
    async events({ count }) {
        while (events.length < count) await new Promise((done) => setTimeout(done, 20));
        return events.splice(0);
    },
    async history({ node, fields, start, end, count }) {
        const filter = o.constructEventFilter(fields.map((f) => (f.startsWith("0:") ? f.slice(2) : `${standard}:${f}`)));
        const found = [];
        let continuationPoint;
        do {
            const answer = await session.historyRead(
                new o.HistoryReadRequest({
                    historyReadDetails: new o.ReadEventDetails({
                        startTime: start ? new Date(start) : undefined,
                        endTime: end ? new Date(end) : undefined,
                        numValuesPerNode: count || 0,
                        filter,
                    }),
                    nodesToRead: [{ nodeId: `ns=${own};s=${node}`, continuationPoint }],
                    timestampsToReturn: o.TimestampsToReturn.Both,
                    releaseContinuationPoints: false,
                }),
            );
            const result = answer.results[0];
            if (!result.statusCode.isGood()) return { status: result.statusCode.name, found };
            for (const event of result.historyData.events) found.push(await shown(event.eventFields));
            continuationPoint = result.continuationPoint;
        } while (continuationPoint && continuationPoint.length);
        return { status: "Good", found };
    },
    async logout() {
        await session.close();
        await client.disconnect();
        return true;
    },
};

(async () => {
    for await (const line of readline.createInterface({ input: process.stdin })) {
        const { step, ...about } = JSON.parse(line);
        let answer;
        try {
            answer = { value: await steps[step](about) };
        } catch (error) {
            answer = { error: String(error.message || error) };
        }
        process.stdout.write(`${JSON.stringify(answer)}\n`);
    }
    process.exit(0);
})();
