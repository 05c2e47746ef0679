-- 100 things to sell, each a function of its number, so that whoever knows the function can check the shop's answers.
create role shop login password 'not-a-secret';
create database shop owner shop;
\connect shop shop
create table items (id int primary key, name text not null, cents int not null);
insert into items select n, 'teapot no. ' || n, n * 137 % 10000 from generate_series(1, 100) n;
create table sold (at timestamptz not null default now(), item int not null references items, by text not null);
