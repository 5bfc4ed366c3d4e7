// A client made of xmpp.js. It is told what to do and tells what it hears, both as lines of JSON.
import { client, jid, xml } from "@xmpp/client";
import { createInterface } from "node:readline";

const [domain, username, password, resource, port] = process.argv.slice(2);
const MUC = "http://jabber.org/protocol/muc";
const tell = (what) => process.stdout.write(JSON.stringify(what) + "\n");
const xmpp = client({ service: `xmpp://127.0.0.1:${port}`, domain, username, password, resource });
let room;

// Milliseconds; two seconds otherwise, which a busy machine takes now and then.
xmpp.timeout = 30_000;

const join = () => xmpp.send(xml("presence", { to: room }, xml("x", MUC, xml("history", { maxstanzas: "0" }))));
const body = (message) => message.getChildText("body");

// It comes back by itself, and says so where the session is a new one.
xmpp.on("online", async (address) => {
  await xmpp.iqCaller.set(xml("enable", "urn:xmpp:carbons:2"));
  await xmpp.send(xml("presence"));
  if (room) await join();
  tell({ online: address.toString() });
});
xmpp.on("error", () => {});
xmpp.on("stanza", (stanza) => {
  if (stanza.is("presence") && stanza.getChild("x", `${MUC}#user`)?.getChildByAttr("code", "110")) {
    tell({ joined: stanza.attrs.from });
  }
  const copied = ["sent", "received"].map((way) => stanza.getChild(way, "urn:xmpp:carbons:2")).find(Boolean);
  const message = copied?.getChild("forwarded", "urn:xmpp:forward:0").getChild("message") ?? stanza;
  if (message.is("message") && body(message) && message.attrs.type !== "error") {
    const other = copied?.name === "sent" ? message.attrs.to : message.attrs.from;
    tell({ with: jid(other).bare().toString(), body: body(message) });
  }
});
createInterface({ input: process.stdin }).on("line", async (line) => {
  const { to, type, text, enter } = JSON.parse(line);
  if (enter) {
    room = enter;
    await join();
  } else {
    await xmpp.send(xml("message", { to, type, id: crypto.randomUUID() }, xml("body", {}, text)));
  }
});
await xmpp.start();
