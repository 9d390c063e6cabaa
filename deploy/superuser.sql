-- Only in the container: from now on the superuser logs in from inside the container and nowhere else.
alter role postgres password null;
