#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
#
# mmdb.pl - makes GeoIP databases for tests, of lines on standard input
#
#	@ FILE TYPE [IP-VERSION]	begins one; TYPE as GeoLite2-Country
#	NETWORK KEY=VALUE ...		country=CH continent=EU asn=64500
#					subdivisions=ENG,WSM (the largest first)
#
# Debian: libmaxmind-db-writer-perl.
use strict;
use warnings;
use MaxMind::DB::Writer::Tree;

my %types = (
	autonomous_system_number => 'uint32', code => 'utf8_string',
	continent => 'map', country => 'map', iso_code => 'utf8_string',
	subdivisions => ['array', 'map'],
);
my ($tree, $file);

sub finish {
	return unless $tree;
	open my $out, '>:raw', $file or die "$file: $!\n";
	$tree->write_tree($out);
	close $out or die "$file: $!\n";
}

sub record {
	my %said = map { split /=/, $_, 2 } @_;
	my %r;
	$r{country} = { iso_code => $said{country} } if $said{country};
	$r{continent} = { code => $said{continent} } if $said{continent};
	$r{autonomous_system_number} = $said{asn} if $said{asn};
	$r{subdivisions} = [map { { iso_code => $_ } }
	    split /,/, $said{subdivisions}] if $said{subdivisions};
	return \%r;
}

while (my $line = <STDIN>) {
	my @words = split ' ', $line;
	next unless @words;
	if ($words[0] ne '@') {
		$tree->insert_network(shift @words, record(@words));
		next;
	}
	finish();
	$file = $words[1];
	$tree = MaxMind::DB::Writer::Tree->new(
		database_type => $words[2], ip_version => $words[3] // 6,
		description => { en => 'for tests' }, record_size => 24,
		remove_reserved_networks => 0,
		map_key_type_callback => sub { $types{ $_[0] } });
}
finish();
