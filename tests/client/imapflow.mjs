// SPDX-License-Identifier: MIT
// Copyright 2026 The Mailweir authors
//
// imapflow.mjs PORT USER PASSWORD SIZE - one session of an unmodified client
//
// Logs in over implicit TLS, lets the client turn COMPRESS on, appends a
// message of SIZE bytes, fetches it back and compares checksums, and waits in
// IDLE for a message that a second connection appends.  Prints one line of
// JSON with what it saw; exits 1 at the first failure.
import crypto from 'node:crypto';
import { ImapFlow } from 'imapflow';

const [port, user, pass, size] = process.argv.slice(2);
const options = {
	host: '127.0.0.1', port: Number(port), secure: true,
	tls: { rejectUnauthorized: false }, auth: { user, pass },
	logger: false, disableAutoIdle: true,
};
const sha = (data) => crypto.createHash('sha256').update(data).digest('hex');

function message(n) {
	const lines = ['From: a@example.org', 'Subject: large', ''];
	const line = crypto.randomBytes(36);
	let length = 0;
	while (length < n) {
		line.writeUInt32LE(length);
		const text = line.toString('base64') + crypto.randomBytes(8).toString('hex');
		lines.push(text);
		length += text.length + 2;
	}
	return Buffer.from(lines.join('\r\n') + '\r\n');
}

async function download(client, seq) {
	const { content } = await client.download(String(seq), undefined);
	const parts = [];
	for await (const part of content)
		parts.push(part);
	return Buffer.concat(parts);
}

const deadline = setTimeout(() => {
	console.error('too slow');
	process.exit(1);
}, 120000);

const first = new ImapFlow(options);
await first.connect();
const compressed = Boolean(first._deflate || first._inflate);
await first.mailboxOpen('INBOX');

const sent = message(Number(size));
await first.append('INBOX', sent, ['\\Seen']);
await first.noop();
const seq = first.mailbox.exists;
const got = await download(first, seq);
if (sha(sent) !== sha(got))
	throw new Error(`sent ${sent.length} bytes, got ${got.length}`);

const news = new Promise((resolve) => first.once('exists', resolve));
const idling = first.idle();
const second = new ImapFlow(options);
await second.connect();
await second.append('INBOX', Buffer.from('Subject: news\r\n\r\nhere\r\n'));
const { count } = await news;
await first.noop();	// ends IDLE
await idling;
await second.logout();
await first.logout();
clearTimeout(deadline);
console.log(JSON.stringify({ compressed, bytes: got.length, sha: sha(got),
	exists: count, seq }));
