// An SMSC made of the npm package `smpp`. Orders come on stdin and events leave on stdout, one JSON object a line.
// An order is a deliver_sm in the package's own terms, with the user data header as hex in `udh`.
"use strict";
const smpp = require("smpp");
const readline = require("readline");

const tell = (event) => process.stdout.write(JSON.stringify(event) + "\n");
const parts = new Map();
let client;
let messageIds = 0;

function bind(session, pdu) {
  if (pdu.system_id !== "sms-7000" || pdu.password !== "secret") {
    session.send(pdu.response({ command_status: smpp.ESME_RBINDFAIL }));
    return;
  }
  session.send(pdu.response({ system_id: "npm" }));
  client = session;
  tell({ event: "bound", interface_version: pdu.interface_version });
}

function submit(session, pdu) {
  session.send(pdu.response({ message_id: `npm-${++messageIds}` }));
  const { udh, message } = pdu.short_message;
  const [, , reference, total, part] = udh ? udh[0] : [0, 0, 0, 1, 1];
  const texts = parts.get(reference) ?? new Map();
  parts.set(reference, texts.set(part, message));
  if (texts.size < total) return;
  parts.delete(reference);
  const text = Array.from({ length: total }, (_, at) => texts.get(at + 1)).join("");
  const { source_addr: source, destination_addr: destination, dest_addr_ton: ton, data_coding } = pdu;
  tell({ event: "text", source, destination, ton, data_coding, segments: total, text });
}

const server = smpp.createServer((session) => {
  session.on("error", (error) => tell({ event: "error", message: error.message }));
  session.on("bind_transceiver", (pdu) => bind(session, pdu));
  session.on("submit_sm", (pdu) => submit(session, pdu));
  session.on("enquire_link", (pdu) => session.send(pdu.response()));
  session.on("unbind", (pdu) => {
    session.send(pdu.response());
    tell({ event: "unbound" });
    session.close();
  });
});
server.listen(0, "127.0.0.1", () => tell({ event: "listening", port: server.address().port }));

readline
  .createInterface({ input: process.stdin })
  .on("line", (line) => {
    const { udh, message, ...order } = JSON.parse(line);
    const short_message = udh ? { udh: Buffer.from(udh, "hex"), message } : message;
    client.deliver_sm({ ...order, short_message }, (answer) =>
      tell({ event: answer.command, status: answer.command_status }),
    );
  })
  .on("close", () => process.exit(0));
